// Preloaded: says that NVIDIA's device file exists, which a program may look for before it opens libtorch's
// CUDA half. The file itself is not made: other programs look for it as well.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *existing(const char *path) {
  return path && strcmp(path, "/dev/nvidiactl") == 0 ? "/dev/null" : path;
}

int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict out) {
  static int (*next)(int, const char *, int, unsigned, struct statx *);
  if (!next)
    next = dlsym(RTLD_NEXT, "statx");
  return next(folder, existing(path), flags, mask, out);
}

int stat64(const char *restrict path, struct stat64 *restrict out) {
  static int (*next)(const char *, struct stat64 *);
  if (!next)
    next = dlsym(RTLD_NEXT, "stat64");
  return next(existing(path), out);
}

int access(const char *path, int mode) {
  static int (*next)(const char *, int);
  if (!next)
    next = dlsym(RTLD_NEXT, "access");
  return next(existing(path), mode);
}
