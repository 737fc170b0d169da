#include "shim.h"
#include "guard.h"

#include <ATen/Parallel.h>
#include <omp.h>

char *shim_compute_alone(void) {
  return guarded([] {
    // First, or a thread's first parallel loop would set the number anew: one flag a thread says whether it
    // has, in libtorch and, since the function is inline, another in this library.
    at::get_num_threads();
    at::internal::lazy_init_num_threads();
    omp_set_num_threads(1);
  });
}

void shim_start_idle_team(void) {
  // Kept by the calling thread's pool until the thread ends.
#pragma omp parallel num_threads(omp_get_num_procs() + 1)
  asm volatile("");
}
