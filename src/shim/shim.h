// Parts of libtorch that tch does not wrap, behind a C interface. Every function returns NULL on
// success, or a message to be freed with shim_free.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#include <ATen/core/Tensor.h>
typedef at::Tensor *tensor;
extern "C" {
#else
typedef void *tensor;
#endif

void shim_free(char *message);

// device_type: 0 CPU, 1 CUDA (c10::DeviceType); dtype: c10::ScalarType.
char *shim_autocast_enter(int device_type, int dtype, int *previous_enabled, int *previous_dtype);
char *shim_autocast_leave(int device_type, int previous_enabled, int previous_dtype);

char *shim_fused_adamw(size_t n, tensor *params, tensor *grads, tensor *exp_avgs, tensor *exp_avg_sqs,
                       tensor *steps, double lr, double beta1, double beta2, double weight_decay,
                       double eps, tensor found_inf_or_null);
char *shim_fused_sgd(size_t n, tensor *params, tensor *grads, tensor *momentum_buffers, double lr,
                     double momentum, double weight_decay, int nesterov, int is_first_step,
                     tensor found_inf_or_null);
char *shim_clear_grads(size_t n, tensor *params);

// Writes a new 0-d fp32 tensor to `out`: the 2-norm over all `tensors`.
char *shim_total_norm(size_t n, tensor *tensors, tensor *out);
// Multiplies every tensor in place by the 0-d tensor `factor`.
char *shim_scale(size_t n, tensor *tensors, tensor factor);
// Moves every tensor in place towards its end, by the fraction `weight` of the way.
char *shim_lerp(size_t n, tensor *tensors, tensor *ends, double weight);

// Attention over a token grid with decomposed relative positions, on the CPU; differentiable.
// qkv [B, H, W, 3C]; padding [3C]; rel_pos [2S - 1, C / num_heads]; window_size 0: global.
// Writes a new [B, H, W, C] to `out`.
char *shim_rel_pos_attention(tensor qkv, tensor padding, tensor rel_pos_h, tensor rel_pos_w, int64_t num_heads,
                             int64_t window_size, tensor *out);

// The sampling of multi-scale deformable attention; differentiable. value [B, S, heads, D]; spatial_shapes
// (h, w) of each level; sampling_locations [B, Q, heads, L, P, 2]; attention_weights [B, Q, heads, L, P].
// composite: use grid_sampler, as on devices other than the CPU. Writes a new [B, Q, heads * D] to `out`.
char *shim_ms_deform_attn(tensor value, const int64_t *spatial_shapes, size_t num_levels, tensor sampling_locations,
                          tensor attention_weights, int composite, tensor *out);
// Samples maps [N, H, W] at points [P, 2] or [N, P, 2], bilinear; differentiable in maps. Writes a new
// [N, P] to `out`.
char *shim_point_sample(tensor maps, tensor points, int composite, tensor *out);

// Runs `call(data, input)` without recording it, and again, recorded, in backward. Owns `data`, which
// `drop` frees. `call` writes a new tensor, or returns a message to be freed.
typedef char *(*checkpoint_call)(void *data, tensor input, tensor *out);
typedef void (*checkpoint_drop)(void *data);
char *shim_checkpoint(tensor input, void *data, checkpoint_call call, checkpoint_drop drop, tensor *out);

// Writes a new fp32 CPU tensor of the given sizes to `out` that uses the memory at `data`; when its
// storage is freed, `free_data(owner)` is called once, on any thread.
char *shim_adopt_f32(float *data, const int64_t *sizes, size_t num_sizes, void *owner,
                     void (*free_data)(void *), tensor *out);

// The calling thread computes alone from now on.
char *shim_compute_alone(void);
// Starts an OpenMP team with more threads than processors; it does nothing and ends with the calling thread.
void shim_start_idle_team(void);

// Writes the CPU tensor in pinned memory to `out`.
char *shim_pin(tensor source, tensor *out);
// Writes a new u8 CPU tensor of arbitrary content to `out`.
char *shim_host_bytes(int64_t length, int pinned, tensor *out);
// Writes CPU tensors on a CUDA device to `out`, copied on the current stream, or on a stream of their own.
char *shim_upload(tensor source, int device_index, tensor *out);
char *shim_upload_ahead(size_t n, tensor *sources, int device_index, tensor *out);
// Writes copies of the tensors on the CPU to `out`, after one wait.
char *shim_download(size_t n, tensor *sources, tensor *out);

// A recorded computation. `call(data, inputs, n, results)` hands its results to shim_push_result, or returns a
// message to be freed.
typedef struct Traced *traced;
typedef char *(*trace_call)(void *data, tensor *inputs, size_t num_inputs, void *results);
void shim_push_result(void *results, tensor result);
int shim_is_tracing(void);
// A module to record into; the variables are its attributes, by their names.
typedef struct Script *script;
char *shim_script(size_t num_variables, const char *const *names, tensor *variables, script *out);
// Adds a method. other_inputs: the same with other sizes where they may have others, or NULL.
char *shim_script_record(script to, const char *method, size_t num_inputs, tensor *inputs, tensor *other_inputs,
                         void *data, trace_call call, traced *out);
// As TorchScript, with a text of that name in the archive.
char *shim_script_save(script from, const char *path, const char *note_name, const char *note);
void shim_script_free(script owned);
// Writes its graph as lines to `text`, to be freed with shim_free; constants are its tensors.
char *shim_traced_graph(traced trace, char **text, size_t *num_tensors);
char *shim_traced_tensor(traced trace, size_t index, tensor *out);
void shim_traced_free(traced trace);

// mode: 0 off, 1 record operators without a deterministic implementation, 2 refuse them.
char *shim_set_determinism(int mode);
// Writes their names, each followed by a line feed, to `out`; to be freed with shim_free.
char *shim_nondeterministic_operators(char **out);
// Adds a name to them.
char *shim_record_nondeterministic(const char *name);
char *shim_alert_not_deterministic(const char *name);
// backend: at::SDPBackend; on CUDA attention then uses it where it fits, else the next slower one, and cuDNN
// only if it was chosen. -1: any, as libtorch chooses.
char *shim_set_attention_backend(int backend);
// A bit for each backend that may be used.
int shim_attention_backends(void);
// Whether fp32 products and convolutions on CUDA may round their operands to TF32.
char *shim_set_tf32(int allowed);
char *shim_tf32(int *products, int *convolutions);
// Returns what it was.
int shim_set_cudnn_benchmark(int on);
// For this thread.
char *shim_select_cuda_device(int device_index);
// Whether this thread's device has compute capability 8.0 or above.
char *shim_cuda_has_bf16(int *has);
// As in PYTORCH_CUDA_ALLOC_CONF.
char *shim_set_allocator(const char *settings);
char *shim_allocator_is_expandable(int *expandable);
char *shim_cuda_memory(int device_index, int64_t *allocated_peak, int64_t *reserved_peak,
                       int64_t *reserved, int64_t *free_bytes, int64_t *total_bytes);
char *shim_cuda_reset_peak(int device_index);
char *shim_cuda_empty_cache(void);
const char *shim_torch_version(void);

#ifdef __cplusplus
}
#endif
