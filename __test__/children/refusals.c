// Loaded before the C library (LD_PRELOAD): has its calls fail for files below one directory, as they do where no test can
// be: on network file systems without locks, with a used-up quota, on disks that break.
//
//   REFUSE_BELOW=<directory> REFUSE=<call>=<errno>    the call is flock, write, fsync or read; the number is the system's

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/types.h>
#include <unistd.h>

// Whether the call is to fail; errno is set then.
static int refused(const char *call, int descriptor) {
  const char *refuse = getenv("REFUSE"), *below = getenv("REFUSE_BELOW");
  size_t length = strlen(call);
  if (!refuse || !below || strncmp(refuse, call, length) != 0 || refuse[length] != '=') return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t read = readlink(link, path, sizeof path - 1);
  if (read < 0) return 0;
  path[read] = 0;
  if (strncmp(path, below, strlen(below)) != 0) return 0;
  errno = atoi(refuse + length + 1);
  return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int flock(int descriptor, int operation) {
  return refused("flock", descriptor) ? -1 : NEXT(flock)(descriptor, operation);
}

ssize_t write(int descriptor, const void *from, size_t length) {
  return refused("write", descriptor) ? -1 : NEXT(write)(descriptor, from, length);
}

ssize_t read(int descriptor, void *to, size_t length) {
  return refused("read", descriptor) ? -1 : NEXT(read)(descriptor, to, length);
}

int fsync(int descriptor) { return refused("fsync", descriptor) ? -1 : NEXT(fsync)(descriptor); }
