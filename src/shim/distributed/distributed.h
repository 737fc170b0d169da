// Data parallel by c10d: store, process group, reducer. Every function that returns `char *` returns NULL on
// success, or a message to be freed with shim_free.
#pragma once
#include "../shim.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shim_store shim_store;
typedef struct shim_group shim_group;
typedef struct shim_pending shim_pending;
typedef struct shim_reducer shim_reducer;

// A connection to a server; `server` also starts one, on the socket `listener` (-1: one that listens on `port`, 0: any
// free). A connection serves one call at a time.
char *shim_store_connect(const char *host, int port, int server, int listener, int64_t timeout_ms, int *port_out,
                         shim_store **out);
char *shim_store_set(shim_store *store, const char *key, const uint8_t *value, size_t length);
// Waits until the key is there. Writes its value to `value`, to be freed with shim_free.
char *shim_store_get(shim_store *store, const char *key, int64_t timeout_ms, char **value, size_t *length);
char *shim_store_has(shim_store *store, const char *key, int *has);
char *shim_store_add(shim_store *store, const char *key, int64_t amount, int64_t *sum);
void shim_store_free(shim_store *store);

// host: the address to bind; null: as PyTorch chooses (GLOO_SOCKET_IFNAME, else the machine's name).
char *shim_group_gloo(shim_store *store, const char *prefix, int rank, int size, int64_t timeout_ms,
                      const char *host_or_null, shim_group **out);
// Makes a c10d::Backend: store is a c10::intrusive_ptr<c10d::Store> *, and so is the result, of c10d::Backend, which the
// caller deletes.
typedef char *(*shim_backend)(void *store, int rank, int size, int64_t timeout_ms, int device_index, void **backend);
// Adds a backend for the tensors of a CUDA device. Every rank must call it.
char *shim_group_add_cuda(shim_group *group, shim_store *store, const char *prefix, int64_t timeout_ms,
                          shim_backend make, int device_index);
// op: 0 sum, 1 maximum. In place.
char *shim_start_all_reduce(shim_group *group, tensor value, int op, shim_pending **out);
// Frees it.
char *shim_wait(shim_pending *pending);
void shim_pending_free(shim_pending *pending);
char *shim_broadcast(shim_group *group, size_t n, tensor *tensors, int root);
// Tensors of equal form; `outputs` has one per rank.
char *shim_all_gather(shim_group *group, tensor input, size_t n, tensor *outputs);
// `outputs` is empty except on rank `root`.
char *shim_gather(shim_group *group, tensor input, size_t n, tensor *outputs, int root);
char *shim_verify_parameters(shim_group *group, size_t n, tensor *tensors);
// Operations under way and later ones fail, here and for the other ranks. From any thread.
char *shim_group_abandon(shim_group *group);
void shim_group_free(shim_group *group);

// Writes the bucket of each parameter to `bucket_of`.
char *shim_reducer_new(shim_group *group, size_t n, tensor *parameters, const char *const *names,
                       size_t bucket_bytes, size_t *bucket_of, shim_reducer **out);
char *shim_reducer_prepare(shim_reducer *reducer);
// Writes to `reached`, for each parameter, whether a gradient arrived on this rank.
char *shim_reducer_finish(shim_reducer *reducer, uint8_t *reached);
char *shim_reducer_free(shim_reducer *reducer);

#ifdef __cplusplus
}
#endif
