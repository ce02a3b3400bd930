// What V8's public headers alone can do: take the code of a module out of V8, and put it in again; and have the bytes of a
// module, which V8 keeps, written by a process of their own. An addon for each version of Node's binary interface, because that
// is what these headers are bound to; all else is in lib/code/ and src/v8.rs. It verifies nothing: whoever calls `revive` has
// made sure that V8 made the code, of these bytes.
//
// Before V8 14, and of a module with options of the standard's (JS string builtins) in all, there is no function for it, but
// WebAssembly.compileStreaming, whose callback (Node's own: node::wasm_web_api::StartStreamingCompilation) gets the object that
// takes code. So that callback is replaced for as long as one call of compileStreaming takes, in a vm context whose microtasks
// run before it returns, and whatever else arrives meanwhile is passed on to Node's. The caller has made sure that Node's is the
// one that is set: there is no way to ask.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#ifdef __linux__
#include <cerrno>
#include <csignal>
#include <ctime>
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <node.h>
#include <v8-wasm.h>
#include <v8.h>

namespace {

using v8::Array;
using v8::ArrayBuffer;
using v8::ArrayBufferView;
using v8::BackingStore;
using v8::CompiledWasmModule;
using v8::Context;
using v8::Function;
using v8::FunctionCallbackInfo;
using v8::Isolate;
using v8::Local;
using v8::MaybeLocal;
using v8::Object;
using v8::OwnedBuffer;
using v8::String;
using v8::Value;
using v8::WasmModuleObject;
using v8::WasmStreaming;

struct Bytes {
  std::shared_ptr<BackingStore> store;
  const uint8_t* data = nullptr;
  size_t size = 0;
};

// Of a Uint8Array or an ArrayBuffer; nothing for anything else.
Bytes BytesOf(Local<Value> value) {
  Bytes bytes;
  if (value->IsArrayBufferView()) {
    Local<ArrayBufferView> view = value.As<ArrayBufferView>();
    bytes.store = view->Buffer()->GetBackingStore();
    bytes.data = static_cast<const uint8_t*>(bytes.store->Data()) + view->ByteOffset();
    bytes.size = view->ByteLength();
  } else if (value->IsArrayBuffer()) {
    bytes.store = value.As<ArrayBuffer>()->GetBackingStore();
    bytes.data = static_cast<const uint8_t*>(bytes.store->Data());
    bytes.size = bytes.store->ByteLength();
  }
  return bytes;
}

// (module, most?) => ArrayBuffer | undefined: the optimised code that V8 has of a module; undefined if that is none. Of more
// than `most` bytes, the last ones.
void Serialize(const FunctionCallbackInfo<Value>& info) {
  if (!info[0]->IsWasmModuleObject()) return;
  OwnedBuffer code = info[0].As<WasmModuleObject>()->GetCompiledModule().Serialize();
  if (code.size == 0) return;
  size_t size = code.size;
  if (info[1]->IsUint32() && info[1].As<v8::Uint32>()->Value() < size) size = info[1].As<v8::Uint32>()->Value();
  Local<ArrayBuffer> buffer = ArrayBuffer::New(info.GetIsolate(), size);
  std::memcpy(buffer->GetBackingStore()->Data(), code.buffer.get() + (code.size - size), size);
  info.GetReturnValue().Set(buffer);
}

// Those of modules' bytes that were given out.
std::vector<std::weak_ptr<BackingStore>> wires;

#ifdef __linux__

// The child of `Leave`, for as long as it reads what V8 frees; 0 otherwise.
std::atomic<pid_t> writer = 0;

// How long, in ms, the parent waits for the child to write, and the child for the parent to end.
constexpr int PATIENCE = 1000;
constexpr timespec PAUSE = {0, 1'000'000};

bool HasEnded(pid_t child) {
  siginfo_t ended = {};
  return waitid(P_PID, child, &ended, WEXITED | WNOWAIT | WNOHANG) != 0 || ended.si_pid != 0;
}

// Before bytes are freed that the child may be reading. It began before this process did all that is done at its end, and needs
// a millisecond for 5 MB, so it is waited for where a disk is slow; and not for long.
void AwaitWriter() {
  const pid_t child = writer.load();
  for (int count = 0; child != 0 && writer.load() == child; count++) {
    if (HasEnded(child)) return;
    if (count == PATIENCE) {
      // From here on it runs nothing that would give a file its own name, however long it is until it has ended.
      kill(child, SIGKILL);
      return;
    }
    nanosleep(&PAUSE, nullptr);
  }
}

#else

void AwaitWriter() {}

#endif

// (module) => ArrayBuffer: the bytes that it was made of, as V8 has them. They are not to be changed. In the main thread only.
void Wire(const FunctionCallbackInfo<Value>& info) {
  if (!info[0]->IsWasmModuleObject()) return;
  auto* module = new CompiledWasmModule(info[0].As<WasmModuleObject>()->GetCompiledModule());
  const auto wire = module->GetWireBytesRef();
  auto* data = const_cast<uint8_t*>(wire.data());
  const auto release = [](void*, size_t, void* kept) {
    AwaitWriter();
    delete static_cast<CompiledWasmModule*>(kept);
  };
  const std::shared_ptr<BackingStore> store = ArrayBuffer::NewBackingStore(data, wire.size(), release, module);
  wires.push_back(store);
  info.GetReturnValue().Set(ArrayBuffer::New(info.GetIsolate(), store));
}

// () => number: V8's version, flags and processor, as `v8.cachedDataVersionTag()` gives them.
void Tag(const FunctionCallbackInfo<Value>& info) {
  info.GetReturnValue().Set(v8::ScriptCompiler::CachedDataVersionTag());
}

// The code is not needed any more: as an ArrayBuffer it goes at once, not when it is collected.
void Drop(Local<Value> code) {
  if (code->IsArrayBuffer()) (void)code.As<ArrayBuffer>()->Detach(Local<Value>()).FromMaybe(false);
}

}  // namespace

namespace node {
namespace wasm_web_api {
// Exported by Node's binary. Where it is missing, this addon cannot be loaded.
void StartStreamingCompilation(const v8::FunctionCallbackInfo<v8::Value>& info);
}  // namespace wasm_web_api
}  // namespace node

namespace {

// One revival of this thread's, while it lasts.
struct Revival {
  Bytes wire;
  Bytes code;
  String::Utf8Value url;
  Local<Object> token;
  bool is_taken = false;
};

thread_local Revival* current = nullptr;

void OnStreaming(const FunctionCallbackInfo<Value>& info) {
  Revival* revival = current;
  if (revival == nullptr || !info[0]->StrictEquals(revival->token)) {
    node::wasm_web_api::StartStreamingCompilation(info);
    return;
  }
  std::shared_ptr<WasmStreaming> streaming = WasmStreaming::Unpack(info.GetIsolate(), info.Data());
#if V8_MAJOR_VERSION >= 14
  streaming->SetHasCompiledModuleBytes();
#else
  revival->is_taken = streaming->SetCompiledModuleBytes(revival->code.data, revival->code.size);
  if (!revival->is_taken) {
    streaming->Abort(MaybeLocal<Value>());
    return;
  }
#endif
  if (revival->url.length() > 0) streaming->SetUrl(*revival->url, revival->url.length());
  streaming->OnBytesReceived(revival->wire.data, revival->wire.size);
  // V8 has read the code when this returns.
#if V8_MAJOR_VERSION >= 14
  streaming->Finish([revival](WasmStreaming::ModuleCachingInterface& caching) {
    revival->is_taken = caching.SetCachedCompiledModuleBytes({revival->code.data, revival->code.size});
  });
#else
  streaming->Finish(true);
#endif
}

// Also where JavaScript is terminated meanwhile.
class Replacement {
 public:
  Replacement(Isolate* isolate, Revival* revival) : isolate_(isolate) {
    current = revival;
    isolate_->SetWasmStreamingCallback(OnStreaming);
  }
  ~Replacement() {
    isolate_->SetWasmStreamingCallback(node::wasm_web_api::StartStreamingCompilation);
    current = nullptr;
  }

 private:
  Isolate* isolate_;
};

// Through compileStreaming.
void ReviveStreaming(const FunctionCallbackInfo<Value>& info) {
  Isolate* isolate = info.GetIsolate();
  if (current != nullptr) return;
  Revival revival{BytesOf(info[0]), BytesOf(info[1]), String::Utf8Value(isolate, info[2]),
                  Object::New(isolate, v8::Null(isolate), nullptr, nullptr, 0)};
  MaybeLocal<Value> streamed;
  {
    Replacement replacement(isolate, &revival);
    Local<Value> arguments[] = {revival.token};
    streamed = info[3].As<Function>()->Call(isolate->GetCurrentContext(), v8::Undefined(isolate), 1, arguments);
  }
  Drop(info[1]);
  Local<Value> module;
  if (!streamed.ToLocal(&module)) return;
  info.GetReturnValue().Set(revival.is_taken);
  if (!revival.is_taken || !module->IsWasmModuleObject()) return;
  // That one is another context's.
  const CompiledWasmModule compiled = module.As<WasmModuleObject>()->GetCompiledModule();
  Local<WasmModuleObject> own;
  if (WasmModuleObject::FromCompiledModule(isolate, compiled).ToLocal(&own)) info.GetReturnValue().Set(own);
}

#if V8_MAJOR_VERSION >= 14

// By V8's function for it.
void ReviveDirectly(const FunctionCallbackInfo<Value>& info) {
  Isolate* isolate = info.GetIsolate();
  const Bytes wire = BytesOf(info[0]);
  const Bytes code = BytesOf(info[1]);
  // V8 may call back later than within Finish: where it refuses the code, it compiles.
  struct Outcome {
    bool is_over = false;
    Local<Value> module;
  };
  auto outcome = std::make_shared<Outcome>();
  bool is_taken = false;
  v8::WasmModuleCompilation compilation;
  const String::Utf8Value url(isolate, info[2]);
  if (url.length() > 0) compilation.SetUrl(*url, url.length());
  compilation.SetHasCompiledModuleBytes();
  compilation.OnBytesReceived(wire.data, wire.size);
  compilation.Finish(
      isolate,
      [&](WasmStreaming::ModuleCachingInterface& caching) {
        is_taken = caching.SetCachedCompiledModuleBytes({code.data, code.size});
      },
      [outcome](std::variant<Local<WasmModuleObject>, Local<Value>> result) {
        if (outcome->is_over) return;
        if (auto* module = std::get_if<0>(&result)) outcome->module = *module;
      });
  outcome->is_over = true;
  Drop(info[1]);
  if (is_taken && !outcome->module.IsEmpty()) {
    info.GetReturnValue().Set(outcome->module);
  } else {
    info.GetReturnValue().Set(is_taken);
  }
}

#endif

// (bytes, code, url, stream) => Module | boolean: a module of this context that has the code; true where V8 has the code, and
// finds it when the same bytes are compiled in the same way; false if it refuses it. `stream(token)` calls compileStreaming with
// the token, and gives the module, if that is there when its microtasks have run; without it, V8 has to have a function.
void Revive(const FunctionCallbackInfo<Value>& info) {
  if (info[3]->IsFunction()) ReviveStreaming(info);
#if V8_MAJOR_VERSION >= 14
  else ReviveDirectly(info);
#endif
}

}  // namespace

#ifdef __linux__

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace {

// A file that the child writes: under another name first, so that it is whole as soon as its own name exists. What is in it is
// in another file (`source`), a copy, or a module's.
struct Part {
  std::string file;
  std::string aside;
  std::string source;
  std::vector<uint8_t> own;
  v8::Global<Value> shared;
  const uint8_t* data = nullptr;
  size_t size = 0;
};

// What the child does, made before it is there: it must not allocate.
struct Plan {
  pid_t parent;
  std::vector<Part> parts;
  std::vector<std::string> command;
  std::vector<std::string> environment;
  std::vector<char*> argv;
  std::vector<char*> envp;
};

bool StringAt(Local<Context> context, Local<Array> list, uint32_t index, std::string* text) {
  Local<Value> value;
  if (!list->Get(context, index).ToLocal(&value) || !value->IsString()) return false;
  const String::Utf8Value utf8(v8::Isolate::GetCurrent(), value);
  if (*utf8 == nullptr) return false;
  text->assign(*utf8, utf8.length());
  return true;
}

bool StringsOf(Local<Context> context, Local<Value> value, std::vector<std::string>* texts, std::vector<char*>* pointers) {
  if (!value->IsArray()) return false;
  Local<Array> list = value.As<Array>();
  texts->resize(list->Length());
  for (uint32_t index = 0; index < list->Length(); index++) {
    if (!StringAt(context, list, index, &(*texts)[index])) return false;
    pointers->push_back((*texts)[index].data());
  }
  pointers->push_back(nullptr);
  return !texts->empty();
}

bool IsWire(const std::shared_ptr<BackingStore>& store) {
  return std::any_of(wires.begin(), wires.end(), [&](const auto& wire) { return wire.lock() == store; });
}

bool PartOf(Local<Context> context, Local<Value> value, Part* part) {
  if (!value->IsArray()) return false;
  Local<Array> list = value.As<Array>();
  Local<Value> source;
  if (!StringAt(context, list, 0, &part->file) || !StringAt(context, list, 1, &part->aside)) return false;
  if (!list->Get(context, 2).ToLocal(&source)) return false;
  if (source->IsString()) return StringAt(context, list, 2, &part->source);
  const Bytes bytes = BytesOf(source);
  if (bytes.data == nullptr) return false;
  part->data = bytes.data;
  part->size = bytes.size;
  if (IsWire(bytes.store)) {
    part->shared.Reset(v8::Isolate::GetCurrent(), source);
  } else {
    part->own.assign(bytes.data, bytes.data + bytes.size);
    part->data = part->own.data();
  }
  return true;
}

// From here to `BecomePlan`: in the child, which runs in the parent's memory, beside its threads. So there is nothing of the C
// library in it: its functions have state, `errno` for one, that is the parent's.

// A system call; what Linux returns, so errors are negative.
long Call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
#if defined(__x86_64__)
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
#else
  (void)number, (void)a, (void)b, (void)c, (void)d, (void)e;
  return -ENOSYS;  // as CanLeave() sees
#endif
}

long Address(const void* pointer) { return reinterpret_cast<long>(pointer); }

bool Write(long fd, const uint8_t* data, size_t size) {
  while (size > 0) {
    const long written = Call(SYS_write, fd, Address(data), size);
    if (written == -EINTR) continue;
    if (written <= 0) return false;
    data += written;
    size -= written;
  }
  return true;
}

bool CopyInto(long fd, const std::string& source) {
  const long from = Call(SYS_openat, AT_FDCWD, Address(source.c_str()), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (from < 0) return false;
  long copied = 1;
  while (copied > 0) copied = Call(SYS_sendfile, fd, from, 0, 1 << 30);
  Call(SYS_close, from);
  return copied == 0;
}

bool WritePart(const Part& part) {
  const long aside = Address(part.aside.c_str());
  const long fd = Call(SYS_openat, AT_FDCWD, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  const bool is_written = part.data == nullptr ? CopyInto(fd, part.source) : Write(fd, part.data, part.size);
  const bool is_closed = Call(SYS_close, fd) == 0;
  const long file = Address(part.file.c_str());
  if (is_written && is_closed && Call(SYS_renameat2, AT_FDCWD, aside, AT_FDCWD, file) == 0) return true;
  Call(SYS_unlinkat, AT_FDCWD, aside);
  return false;
}

// The kernel's sigset_t, and its struct sigaction, of which nothing but zeros is used: SIG_DFL.
using KernelSet = uint64_t;
struct alignas(8) KernelAction {
  uint8_t zeros[64] = {};
};

int BecomePlan(void* given) {
  const Plan& plan = *static_cast<const Plan*>(given);
  // Whoever waits for the end of the parent's pipes does not wait for this.
  bool is_ready = Call(SYS_close_range, 0, ~0U) == 0;
  is_ready = is_ready && Call(SYS_openat, AT_FDCWD, Address("/dev/null"), O_RDWR) == 0;
  for (long fd = 1; fd <= 2; fd++) is_ready = is_ready && Call(SYS_dup3, 0, fd) == fd;
  is_ready = is_ready && Call(SYS_setsid) > 0 && Call(SYS_chdir, Address("/")) == 0;
  const KernelAction action;
  for (int number = 1; number < NSIG; number++) Call(SYS_rt_sigaction, number, Address(&action), 0, sizeof(KernelSet));
  const KernelSet nothing = 0;
  Call(SYS_rt_sigprocmask, SIG_SETMASK, Address(&nothing), 0, sizeof(KernelSet));
  for (const Part& part : plan.parts) is_ready = is_ready && WritePart(part);
  writer.store(0);
  // Whoever lets go of the memory last gives it back, which takes as long as all of this: the parent is waited for.
  for (int count = 0; count < PATIENCE && Call(SYS_getppid) == plan.parent; count++) Call(SYS_nanosleep, Address(&PAUSE));
  if (is_ready) Call(SYS_execve, Address(plan.argv[0]), Address(plan.argv.data()), Address(plan.envp.data()));
  for (;;) Call(SYS_exit_group, 127);
}

// What the child has for a stack.
constexpr size_t STACK = 64 * 1024;

// ([[file, aside, bytes | file], …], [program, …], ['NAME=value', …]) => number | undefined: a process that writes the files,
// one after the other, and becomes the program, if that went well. Undefined where there can be no process.
//
// For a process that ends, and only for one: it pays for no file, for no copy of its page tables, and not even for giving its
// memory back, which the child has as well until it is another program (clone(2), CLONE_VM). So what the child uses is not
// freed: the plan, its stack, and the bytes of modules, until they are written (`AwaitWriter`). This addon stays where it is, as
// every addon of the main thread does.
void Leave(const FunctionCallbackInfo<Value>& info) {
  Local<Context> context = info.GetIsolate()->GetCurrentContext();
  if (!info[0]->IsArray() || writer.load() != 0) return;
  Local<Array> parts = info[0].As<Array>();
  auto plan = std::make_unique<Plan>();
  plan->parts.resize(parts->Length());
  for (uint32_t index = 0; index < parts->Length(); index++) {
    Local<Value> part;
    if (!parts->Get(context, index).ToLocal(&part) || !PartOf(context, part, &plan->parts[index])) return;
  }
  plan->parent = getpid();
  if (!StringsOf(context, info[1], &plan->command, &plan->argv)) return;
  if (!StringsOf(context, info[2], &plan->environment, &plan->envp)) return;
  auto stack = std::make_unique<char[]>(STACK);
  // A handler of this process's must not run in the child.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  // The kernel says who it is before it runs.
  const pid_t child = clone(BecomePlan, stack.get() + STACK, CLONE_VM | CLONE_PARENT_SETTID | SIGCHLD, plan.get(), &writer);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child <= 0) return;
  (void)plan.release();
  (void)stack.release();
  info.GetReturnValue().Set(static_cast<double>(child));
}

// Where a sandbox or an old kernel does not have it, the child would keep what the parent has open.
bool CanLeave() { return Call(SYS_close_range, ~0U, ~0U) == 0; }

}  // namespace

#endif

NODE_MODULE_INIT() {
  (void)module;
  (void)context;
  NODE_SET_METHOD(exports, "serialize", Serialize);
  NODE_SET_METHOD(exports, "revive", Revive);
  NODE_SET_METHOD(exports, "tag", Tag);
  NODE_SET_METHOD(exports, "wire", Wire);
#ifdef __linux__
  if (CanLeave()) NODE_SET_METHOD(exports, "leave", Leave);
#endif
}
