/* What objects compiled with the headers of a newer C library call, in terms of an older one. The functions of the stat
 * family became symbols of the library in 2.33; before, its static part had these same lines. */

#define HIDDEN __attribute__((visibility("hidden")))

/* The layout of `struct stat` that the kernel and both kinds of C library use on x86-64. */
enum { VERSION = 1 };

struct stat;

int __xstat64(int, const char *, struct stat *);
int __lxstat64(int, const char *, struct stat *);
int __fxstat64(int, int, struct stat *);
int __fxstatat64(int, int, const char *, struct stat *, int);

HIDDEN int stat(const char *path, struct stat *out) { return __xstat64(VERSION, path, out); }
HIDDEN int stat64(const char *path, struct stat *out) { return __xstat64(VERSION, path, out); }
HIDDEN int lstat(const char *path, struct stat *out) { return __lxstat64(VERSION, path, out); }
HIDDEN int lstat64(const char *path, struct stat *out) { return __lxstat64(VERSION, path, out); }
HIDDEN int fstat(int file, struct stat *out) { return __fxstat64(VERSION, file, out); }
HIDDEN int fstat64(int file, struct stat *out) { return __fxstat64(VERSION, file, out); }
HIDDEN int fstatat(int folder, const char *path, struct stat *out, int flags) {
    return __fxstatat64(VERSION, folder, path, out, flags);
}
HIDDEN int fstatat64(int folder, const char *path, struct stat *out, int flags) {
    return __fxstatat64(VERSION, folder, path, out, flags);
}

/* Since 2.32 it tells libstdc++ when atomic counters are not needed. They are. */
HIDDEN char __libc_single_threaded = 0;
