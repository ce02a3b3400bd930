// What V8's public headers alone can do: take the code of a module out of V8, and put it in again. An addon of its own for
// each version of Node's binary interface, because that is what these headers are bound to; all else is in lib/code/ and
// src/v8.rs. It verifies nothing: whoever calls `revive` has made sure that V8 made the code, of these bytes.
//
// Before V8 14 there is no function for it, but WebAssembly.compileStreaming, whose callback (Node's own:
// node::wasm_web_api::StartStreamingCompilation) gets the object that takes code. So that callback is replaced for as long as
// one call of compileStreaming takes, in a vm context whose microtasks run before it returns, and whatever else arrives
// meanwhile is passed on to Node's. The caller has made sure that Node's is the one that is set: there is no way to ask.

#include <cstring>
#include <memory>
#include <variant>

#include <node.h>
#include <v8-wasm.h>
#include <v8.h>

namespace {

using v8::ArrayBuffer;
using v8::ArrayBufferView;
using v8::CompiledWasmModule;
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
  std::shared_ptr<v8::BackingStore> store;
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

// (module) => ArrayBuffer | undefined: the optimised code that V8 has of a module; undefined if that is none.
void Serialize(const FunctionCallbackInfo<Value>& info) {
  if (!info[0]->IsWasmModuleObject()) return;
  OwnedBuffer code = info[0].As<WasmModuleObject>()->GetCompiledModule().Serialize();
  if (code.size == 0) return;
  Local<ArrayBuffer> buffer = ArrayBuffer::New(info.GetIsolate(), code.size);
  std::memcpy(buffer->GetBackingStore()->Data(), code.buffer.get(), code.size);
  info.GetReturnValue().Set(buffer);
}

// The code is not needed any more: as an ArrayBuffer it goes at once, not when it is collected.
void Drop(Local<Value> code) {
  if (code->IsArrayBuffer()) (void)code.As<ArrayBuffer>()->Detach(Local<Value>()).FromMaybe(false);
}

}  // namespace

#if V8_MAJOR_VERSION >= 14

namespace {

// (bytes, code, url) => Module | boolean: a module of this context that has the code; false if V8 refuses it.
void Revive(const FunctionCallbackInfo<Value>& info) {
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

}  // namespace

#else

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
  revival->is_taken = streaming->SetCompiledModuleBytes(revival->code.data, revival->code.size);
  if (!revival->is_taken) {
    streaming->Abort(MaybeLocal<Value>());
    return;
  }
  if (revival->url.length() > 0) streaming->SetUrl(*revival->url, revival->url.length());
  streaming->OnBytesReceived(revival->wire.data, revival->wire.size);
  // V8 has read the code when this returns.
  streaming->Finish(true);
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

// (bytes, code, url, stream) => Module | boolean: a module of this context that has the code; true where V8 has the code, and
// finds it when the same bytes are compiled; false if it refuses it. `stream(token)` calls compileStreaming with the token, and
// gives the module, if that is there when its microtasks have run.
void Revive(const FunctionCallbackInfo<Value>& info) {
  Isolate* isolate = info.GetIsolate();
  if (current != nullptr || !info[3]->IsFunction()) return;
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

}  // namespace

#endif

NODE_MODULE_INIT() {
  (void)module;
  (void)context;
  NODE_SET_METHOD(exports, "serialize", Serialize);
  NODE_SET_METHOD(exports, "revive", Revive);
}
