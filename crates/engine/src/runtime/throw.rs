//! Throwing in compiled code: to the handler at once, where every frame up to it is known ([`super::handlers`]), and by the C
//! runtime's unwinder, as wasmer does it, where one is not. A handler sees no difference.
//!
//! wasmer gives a landing pad an exception of the unwinder's, and calls a function to have its clause found and another one to have
//! the exnref. These two are ours in every instance. They take [`FLYING`] in the place of the unwinder's exception, and give others
//! to wasmer's.
//!
//! Invariant: between [`find`] and [`taken`] nothing else is thrown in the thread: a landing pad calls [`clause`] and [`taken`] first.

use std::arch::naked_asm;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmer_types::VMBuiltinFunctionIndex as Index;
use wasmer_vm::libcalls::{
    wasmer_eh_personality2, wasmer_vm_exception_into_exnref, wasmer_vm_throw,
};
use wasmer_vm::{StoreObjects, VMContext, VMInstance};

use super::handlers::{self, Handler, RECORD};
use super::{exception, libcall};

/// The exception that is on its way to a landing pad.
struct Flying {
    exnref: Cell<u32>,
    handler: RefCell<Option<Rc<Handler>>>,
}

thread_local! {
    static FLYING: Flying = const {
        Flying {
            exnref: Cell::new(0),
            handler: RefCell::new(None),
        }
    };
}

/// wasmer's numbers for what [`clause`] finds beside tags.
const ALL: i32 = i32::MAX;
const NONE: i32 = i32::MAX - 1;

/// A new instance throws and catches by the functions here.
pub(super) fn hook(instance: &VMInstance) {
    let functions = [
        (Index::get_imported_throw_index(), throw as *const ()),
        (
            Index::get_imported_personality2_index(),
            clause as *const (),
        ),
        (
            Index::get_imported_exception_into_exnref_index(),
            taken as *const (),
        ),
    ];
    for (index, function) in functions {
        // SAFETY: the signatures are those of wasmer's functions; the instance is new.
        unsafe { libcall::replace(instance, index, function) };
    }
}

/// The registers of a frame at a call, as they are after it. [`throw`] fills and reads it by these offsets.
#[derive(Clone, Copy)]
#[repr(C)]
struct Frame {
    /// In the order of [`handlers::SAVED`].
    saved: [usize; 5],
    frame_pointer: usize,
    address: usize,
    stack_pointer: usize,
    /// What a landing pad finds in `rdx`: whether its clause is to be looked for.
    selector: usize,
}

/// The code of a function that takes something, and an exnref, and never returns: registers are noted, [`find`] is asked, and
/// either a landing pad is entered or, with everything as it was, `slow`.
macro_rules! throwing {
    ($slow:expr) => {
        naked_asm!(
            "push rbp",
            "mov rbp, rsp",
            "sub rsp, 96",
            "mov [rsp], rbx",
            "mov [rsp + 8], r12",
            "mov [rsp + 16], r13",
            "mov [rsp + 24], r14",
            "mov [rsp + 32], r15",
            "mov rax, [rbp]",
            "mov [rsp + 40], rax",
            "mov rax, [rbp + 8]",
            "mov [rsp + 48], rax",
            "lea rax, [rbp + 16]",
            "mov [rsp + 56], rax",
            "mov [rsp + 72], rdi",
            "mov [rsp + 80], rsi",
            "mov rdi, rsp",
            "call {find}",
            "test rax, rax",
            "jz 2f",
            "mov rbx, [rsp]",
            "mov r12, [rsp + 8]",
            "mov r13, [rsp + 16]",
            "mov r14, [rsp + 24]",
            "mov r15, [rsp + 32]",
            "mov rbp, [rsp + 40]",
            "mov rcx, [rsp + 48]",
            "mov rdx, [rsp + 64]",
            "mov rsp, [rsp + 56]",
            "jmp rcx",
            "2:",
            "mov rdi, [rsp + 72]",
            "mov rsi, [rsp + 80]",
            "leave",
            "jmp {slow}",
            find = sym find,
            slow = sym $slow,
        )
    };
}

/// What compiled code calls for a `throw` and a `throw_ref`.
#[unsafe(naked)]
unsafe extern "C-unwind" fn throw(vmctx: *mut VMContext, exnref: u32) -> ! {
    throwing!(wasmer_vm_throw)
}

/// Throws at a call of WebAssembly's.
///
/// # Safety
/// As [`wasmer_vm::libcalls::throw`], and the caller must be compiled code, or have jumped here as if it were.
#[unsafe(naked)]
pub(super) unsafe extern "C-unwind" fn throw_of(store: *const StoreObjects, exnref: u32) -> ! {
    throwing!(slow)
}

unsafe extern "C-unwind" fn slow(store: *const StoreObjects, exnref: u32) -> ! {
    // SAFETY: the promise to `throw_of`: the store's group is alive while its functions run.
    let store = unsafe { &*store };
    // SAFETY: as above.
    unsafe { wasmer_vm::libcalls::throw(store, exnref) }
}

/// See [`super::left_to_unwinder`].
pub(super) fn left_to_unwinder() -> usize {
    LEFT.load(Ordering::Relaxed)
}

static LEFT: AtomicUsize = AtomicUsize::new(0);

/// Looks for the handler, from the frame that throws on; then `frame` is how to enter it, and the exception is given.
unsafe extern "C" fn find(frame: &mut Frame, exnref: usize) -> *const Flying {
    // Null is a trap.
    if exnref as u32 == 0 {
        return ptr::null();
    }
    let mut above = *frame;
    let handler = loop {
        let Some(step) = handlers::at(above.address) else {
            LEFT.fetch_add(1, Ordering::Relaxed);
            return ptr::null();
        };
        if let Some(handler) = &step.handler {
            break Rc::clone(handler);
        }
        let cfa = above.frame_pointer + RECORD;
        for (register, distance) in above.saved.iter_mut().zip(step.saved) {
            if distance != 0 {
                // SAFETY: the frame is that of a function which saved the register there.
                *register = unsafe { word(cfa.wrapping_add_signed(distance)) };
            }
        }
        // SAFETY: the function has a frame record.
        above.address = unsafe { word(cfa - 8) };
        // SAFETY: as above.
        above.frame_pointer = unsafe { word(cfa - RECORD) };
        above.stack_pointer = cfa;
    };
    above.address = handler.landing_pad;
    above.selector = usize::from(!handler.tags.is_empty());
    let given = FLYING.try_with(|flying| {
        flying.exnref.set(exnref as u32);
        *flying.handler.try_borrow_mut().ok()? = Some(handler);
        Some(ptr::from_ref(flying))
    });
    let Ok(Some(flying)) = given else {
        return ptr::null();
    };
    *frame = above;
    flying
}

/// # Safety
/// There must be a word.
unsafe fn word(at: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { (at as *const usize).read() }
}

/// Whether that is the exception which [`find`] gave.
fn is_flying(exception: *const c_void) -> bool {
    FLYING
        .try_with(|flying| ptr::from_ref(flying).cast() == exception)
        .unwrap_or(false)
}

/// What a landing pad calls to have its clause: the tag, by its index in the module, or [`ALL`], or [`NONE`].
unsafe extern "C" fn clause(vmctx: *mut VMContext, exception: *mut c_void) -> i32 {
    if !is_flying(exception) {
        // SAFETY: called as compiled code calls it; the exception is the unwinder's.
        return unsafe { wasmer_eh_personality2(vmctx, exception.cast()) };
    }
    FLYING.with(|flying| {
        let handler = flying.handler.borrow();
        let Some(handler) = handler.as_deref() else {
            return NONE;
        };
        // SAFETY: called by compiled code of the instance.
        let tag = unsafe { exception::matching(vmctx, flying.exnref.get(), &handler.tags) };
        tag.map_or(if handler.all { ALL } else { NONE }, |tag| tag as i32)
    })
}

/// What a landing pad calls to have the exnref; the unwinder's exception is no more then.
unsafe extern "C-unwind" fn taken(exception: *mut c_void) -> u32 {
    if is_flying(exception) {
        return FLYING.with(|flying| {
            flying.handler.take();
            flying.exnref.get()
        });
    }
    // SAFETY: called as compiled code calls it; the exception is the unwinder's.
    unsafe { wasmer_vm_exception_into_exnref(exception) }
}
