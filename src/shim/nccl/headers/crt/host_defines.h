// NVIDIA's package of CUDA's headers includes this file, but another package has it. For the host's compiler it defines
// words that say where a function runs as nothing.
#pragma once
#define __cudart_builtin__
#define __device_builtin__
#define __device_builtin_texture_type__
#define __device_builtin_surface_type__
#define __host__
#define __device__
#define __global__
#define __shared__
#define __constant__
#define __managed__
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __align__(n)
#define __specialization_static
#define CUDARTAPI
#define CUDARTAPI_CDECL
