// Loaded before the C library (LD_PRELOAD): has the system, V8 or Node-API do what this package assumes they never do.
//
//   FAKE=unheeded          v8::Isolate::SetStackLimit changes nothing
//   FAKE=unexported        there is no v8::Isolate::SetStackLimit
//   FAKE=isolates=<n>      from the n-th time it is asked on, V8 is in another isolate, whose limit nobody may set
//   FAKE=always-stopping   Node-API says of every environment that it is to stop
//   FAKE=never-stopping    Node-API says so of none
//   FAKE=no-external-buffers  Node-API makes no buffers of memory that is not V8's, as in Electron
//   FAKE=shadow-stack      the kernel has given the process a shadow stack
//   FAKE=no-guard-page     a WebAssembly stack's guard page can be read and written

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// The rest of FAKE behind the name and '=', or behind the name; NULL if it is another.
static const char *fake(const char *name) {
  const char *set = getenv("FAKE");
  size_t length = strlen(name);
  if (!set || strncmp(set, name, length) != 0) return NULL;
  if (set[length] == '=') return set + length + 1;
  return set[length] == 0 ? set + length : NULL;
}

static void *real(void *handle, const char *name) {
  static void *(*found)(void *, const char *);
  const char *versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
  for (int i = 0; !found && i < 3; i++) *(void **)&found = dlvsym(RTLD_NEXT, "dlsym", versions[i]);
  return found(handle, name);
}

static void *(*current)(void);
static void (*set_limit)(void *, uintptr_t);

static void unheeded(void *isolate, uintptr_t limit) { (void)isolate, (void)limit; }

static void set_own(void *isolate, uintptr_t limit) {
  if (isolate != current()) {
    fputs("the limit of an isolate that is not current\n", stderr);
    abort();
  }
  set_limit(isolate, limit);
}

static void *other_isolate(void) {
  static int asked;
  return ++asked < atoi(fake("isolates")) ? current() : (void *)&asked;
}

static int refuse_all(void) { return 10; }  // napi_pending_exception
static int refuse_none(void) { return 1; }  // napi_invalid_arg
static int refuse_external(void) { return 22; }  // napi_no_external_buffers_allowed

#define SET_LIMIT "_ZN2v87Isolate13SetStackLimitEm"
#define CURRENT "_ZN2v87Isolate10GetCurrentEv"

void *dlsym(void *handle, const char *name) {
  void *found = real(handle, name);
  if (strcmp(name, SET_LIMIT) == 0) {
    if (fake("unheeded")) return (void *)unheeded;
    if (fake("unexported")) return NULL;
    if (fake("isolates")) {
      *(void **)&current = real(handle, CURRENT);
      *(void **)&set_limit = found;
      return (void *)set_own;
    }
  }
  if (strcmp(name, CURRENT) == 0 && fake("isolates")) return (void *)other_isolate;
  if (strcmp(name, "napi_strict_equals") == 0) {
    if (fake("always-stopping")) return (void *)refuse_all;
    if (fake("never-stopping")) return (void *)refuse_none;
  }
  const int is_external = strcmp(name, "napi_create_external_arraybuffer") == 0 || strcmp(name, "napi_create_external_buffer") == 0;
  if (is_external && fake("no-external-buffers")) return (void *)refuse_external;
  return found;
}

int mprotect(void *from, size_t length, int protection) {
  static int (*next)(void *, size_t, int);
  if (!next) *(void **)&next = real(RTLD_NEXT, "mprotect");
  const size_t stack = 4 << 20, page = (size_t)sysconf(_SC_PAGESIZE);
  if (length == stack && protection == (PROT_READ | PROT_WRITE) && fake("no-guard-page")) {
    return next((char *)from - page, length + page, protection);
  }
  return next(from, length, protection);
}

long syscall(long number, ...) {
  static long (*next)(long, ...);
  if (!next) *(void **)&next = real(RTLD_NEXT, "syscall");
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) arguments[i] = va_arg(list, long);
  va_end(list);
#if defined(__x86_64__)
  const int asks = number == SYS_arch_prctl && arguments[0] == 0x5005;
#else
  const int asks = number == SYS_prctl && arguments[0] == 74;
#endif
  if (asks && fake("shadow-stack")) {
    *(uint64_t *)arguments[1] = 1;
    return 0;
  }
  return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
