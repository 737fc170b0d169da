// NVIDIA's package of CUDA's headers includes this file, but another package has it. It checks versions of compilers.
#pragma once
