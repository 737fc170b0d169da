// The shim as one translation unit: libtorch's headers take several times longer to compile than our
// code, and so are compiled once.
#include "attention.cpp"
#include "backends.cpp"
#include "checkpoint.cpp"
#include "deformable.cpp"
#include "determinism.cpp"
#include "graph.cpp"
#include "point_sample.cpp"
#include "shim.cpp"
#include "threads.cpp"
#include "transfer.cpp"
