// The second translation unit of the shim, compiled beside the first: c10d's headers take as long as all the
// rest.
#include "collectives.cpp"
#include "reducer.cpp"
