//! The host's side: compiling, the thread of a group, the tiers' order, host functions.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use parking_lot::Mutex;
use wasm_compile_cache_engine::runtime::{Callee, Raised, WasmThread, call};
use wasm_compile_cache_engine::tier::{
    BaselineMode, CacheMode, Code, CompileOptions, Module, Mutator, Tier, compile_bytes,
};
use wasm_compile_cache_engine::trace::{EventQueue, Field};
use wasm_encoder::{CustomSection, Module as Encoder};
use wasmer_types::RawValue;
use wasmer_vm::{VMCallerCheckedAnyfunc, VMFunctionBody};

use super::function::{Function, Key};
use super::signature::significant;
use super::world::Place;

/// A module, and how many bytes of its bodies the baseline gave to Cranelift.
pub struct Compiled {
    pub module: Arc<Module>,
    pub cranelift_bytes: f64,
}

/// Compiles without the cache. Modules of different partitions share no code.
pub fn compile(bytes: &[u8], partition: &str, optimize: bool) -> Compiled {
    compile_as(BaselineMode::Eager, bytes, partition, optimize)
}

/// As [`compile`], with that baseline.
pub fn compile_as(
    baseline: BaselineMode,
    bytes: &[u8],
    partition: &str,
    optimize: bool,
) -> Compiled {
    let events = EventQueue::new(Box::new(|| {}));
    let options = CompileOptions {
        partition: partition.to_owned(),
        cache: CacheMode::Off,
        cached_only: false,
        min_size: 0,
        baseline,
        optimize,
        finish: false,
        fallback: false,
        source: "generated".to_owned(),
        fetched: None,
        events: Arc::clone(&events),
    };
    let module = compile_bytes(bytes.to_vec(), &options).expect("compiles");
    let events = events.drain();
    let mut fields = events.iter().flat_map(|event| &event.fields);
    let cranelift_bytes = fields.find_map(|(name, field)| match field {
        Field::Number(number) if *name == "craneliftBytes" => Some(*number),
        _ => None,
    });
    Compiled {
        module,
        cranelift_bytes: cranelift_bytes.expect("the baseline ran"),
    }
}

/// The code a module has now, which must be of `tier`.
pub fn code(module: &Module, tier: Tier) -> Arc<Code> {
    let code = module.code();
    assert_eq!(code.tier, tier);
    code
}

/// Keeps the optimizing tier from publishing anything that is compiled after it, until it is
/// dropped: the tier's only thread is blocked in a callback.
pub struct Gate {
    _release: Sender<()>,
}

impl Gate {
    pub fn close() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            let mut bytes = Encoder::new();
            bytes.section(&CustomSection {
                name: "gate".into(),
                data: number.as_slice().into(),
            });
            let module = compile(&bytes.finish(), "", true).module;
            let (release, wait) = channel::<()>();
            let caller = thread::current().id();
            let too_late = Arc::new(AtomicBool::new(false));
            let late = Arc::clone(&too_late);
            module.when_optimized(Box::new(move |_| {
                if thread::current().id() == caller {
                    late.store(true, Ordering::Relaxed);
                } else {
                    // Ends when the sender is dropped.
                    let _ = wait.recv();
                }
            }));
            if !too_late.load(Ordering::Relaxed) {
                return Self { _release: release };
            }
        }
    }
}

type Task = Box<dyn FnOnce() + Send>;

/// The thread of a test, which says itself when it is idle.
#[derive(Default)]
pub struct TestThread(Mutex<Vec<Task>>);

impl TestThread {
    /// Runs what waits for the thread to be idle.
    pub fn idle(&self) {
        let tasks = std::mem::take(&mut *self.0.lock());
        for task in tasks {
            task();
        }
    }
}

impl Mutator for TestThread {
    fn when_idle(&self, task: Task) {
        self.0.lock().push(task);
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}

/// A slot's body, which another thread may write.
pub fn body(anyfunc: usize) -> &'static AtomicPtr<VMFunctionBody> {
    let anyfunc = anyfunc as *mut VMCallerCheckedAnyfunc;
    // SAFETY: the tests' groups outlive every use of their exports' addresses.
    let field = unsafe { &raw mut (*anyfunc).func_ptr };
    // SAFETY: as above; an aligned pointer, only written atomically.
    unsafe { AtomicPtr::from_ptr(field.cast()) }
}

/// The address of a local function's body.
pub fn body_of(code: &Code, local: usize) -> *mut VMFunctionBody {
    code.bodies.get(local as u32).0.cast_mut()
}

/// Calls a function with arguments that are followed by room for its results.
///
/// # Errors
/// The trap.
pub fn invoke(anyfunc: usize, values: &mut [RawValue]) -> Result<(), wasmer_vm::Trap> {
    let anyfunc = NonNull::new(anyfunc as *mut VMCallerCheckedAnyfunc).expect("a function");
    // SAFETY: the group is alive and on this thread; all callers make room for parameters and
    // results.
    unsafe { call(anyfunc, values.as_mut_ptr(), WasmThread::current()) }
}

/// A host function of a chain.
pub struct HostFunction {
    received: Vec<(Key, Rc<Cell<u128>>)>,
    came_back: Vec<(Key, Rc<Cell<u128>>)>,
    returned: Vec<(Key, Rc<Cell<u128>>)>,
    /// Anyfunc of the next function of the chain.
    next: Option<usize>,
}

impl HostFunction {
    /// `place` makes or finds the place of what it records and returns.
    pub fn callee(
        function: &Function,
        next: Option<usize>,
        mut place: impl FnMut(Key) -> Place,
    ) -> Box<dyn Callee> {
        let mut cells = |keys: Vec<Key>| {
            let cells = keys.into_iter().map(|key| match place(key) {
                Place::Host(cell) => (key, cell),
                Place::Global(_) => panic!("a global has the key of a host function"),
            });
            cells.collect()
        };
        Box::new(Self {
            received: cells(function.received()),
            came_back: cells(function.came_back()),
            returned: cells(function.returned()),
            next,
        })
    }
}

impl Callee for HostFunction {
    unsafe fn call(&self, values: *mut RawValue) -> Result<(), Raised> {
        let length = self.received.len().max(self.returned.len());
        let values = match length {
            0 => &mut [],
            // SAFETY: by the trait's contract there is room for parameters and results.
            _ => unsafe { std::slice::from_raw_parts_mut(values, length) },
        };
        let record = |values: &[RawValue], cells: &[(Key, Rc<Cell<u128>>)]| {
            for (value, (key, cell)) in values.iter().zip(cells) {
                // SAFETY: every bit pattern is a valid u128.
                cell.set(significant(key.ty, unsafe { value.u128 }));
            }
        };
        record(values, &self.received);
        if let Some(next) = self.next {
            invoke(next, values).map_err(|_| Raised::Pending)?;
            record(values, &self.came_back);
            return Ok(());
        }
        for (value, (_, cell)) in values.iter_mut().zip(&self.returned) {
            value.u128 = cell.get();
        }
        Ok(())
    }
}
