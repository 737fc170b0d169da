// Loops compiled for several instruction sets.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
// The best of three versions is picked when the program starts.
#define VECTORIZED __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#else
#define VECTORIZED
#endif

// Functions called by VECTORIZED ones must be inlined, or they are compiled for the oldest processor.
#define INLINED inline __attribute__((always_inline))
