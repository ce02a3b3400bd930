//! Panics: bugs, of this package's or of a compiler's.
//!
//! None ends the process: whoever runs what may panic catches it ([`catch`]), and goes on with an error. A program that
//! compares its output must not find ours in it, so nothing is printed. Message and place go into the error and into the
//! event `panicked`, which NODE_DEBUG shows.
//!
//! A panic where nothing may unwind ends the process by `abort`. That one is printed: nobody else could say why.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use parking_lot::Mutex;

use crate::trace::announce;

/// What panicked, with message and place.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} panicked: {text}")]
pub struct Panicked {
    what: &'static str,
    text: String,
}

thread_local! {
    /// Of this thread's last panic that was not caught yet.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The last panic of any thread that nobody has caught yet: compilers have threads of their own, and the panic goes on in
/// the one that waits for them.
static RECENT: Mutex<Option<String>> = Mutex::new(None);

/// Runs what may panic; `what` is its name in the error.
///
/// # Errors
/// It panicked. Whatever it was about to change is as it left it, so the caller gives it up.
pub fn catch<R>(what: &'static str, work: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| caught(what))
}

/// A panic was caught otherwise than by [`catch`], where an error that is no larger than it must be costs less.
#[cold]
#[inline(never)]
pub fn caught(what: &'static str) -> Panicked {
    let recent = RECENT.lock().take();
    let text = LAST.take().or(recent);
    let text = text.unwrap_or_else(|| "without a message".to_owned());
    let fields = [("what", what.into()), ("message", text.as_str().into())];
    announce("panicked", &fields);
    Panicked { what, text }
}

/// Has every panic of this library noted in the place of being printed; to be called before anything can panic.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let printing = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| note(info, &printing)));
    });
}

fn note(info: &PanicHookInfo<'_>, printing: &dyn Fn(&PanicHookInfo<'_>)) {
    let message = info.payload_as_str().unwrap_or("no text");
    let place = info
        .location()
        .map_or_else(String::new, |at| format!(", at {at}"));
    let text = format!("{message}{place}");
    // The standard library aborts behind these (`core::panicking`): "panic in a function that cannot unwind", and two of
    // destructors.
    let ends = message.starts_with("panic in a ");
    if let (false, Some(mut recent)) = (ends, RECENT.try_lock()) {
        *recent = Some(text.clone());
    }
    // Where the thread is ending, nothing can be kept.
    let last = LAST.try_with(|last| last.replace((!ends).then_some(text)));
    if ends {
        let before = last.ok().flatten().unwrap_or_default();
        eprintln!("wasm-compile-cache: {before}");
    }
    if ends || cfg!(test) {
        printing(info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::EventQueue;

    /// [`RECENT`] is the process's.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    #[test]
    fn a_panic_keeps_its_message_and_place_and_is_an_event() {
        let _one = ONE_AT_A_TIME.lock();
        listen();
        let queue = EventQueue::new(Box::new(|| {}));
        queue.hears_of_the_process();
        let panicked = catch("a test", || panic!("for a {}", "reason")).expect_err("panics");
        let text = panicked.to_string();
        assert!(
            text.starts_with("a test panicked: for a reason, at "),
            "{text}"
        );
        assert!(text.contains("panics.rs:"), "{text}");
        let events = queue.drain();
        let event = events.iter().find(|event| {
            event.name == "panicked" && format!("{:?}", event.fields).contains("for a reason, at ")
        });
        assert!(event.is_some(), "{events:?}");
    }

    #[test]
    fn what_was_caught_once_is_not_said_again() {
        let _one = ONE_AT_A_TIME.lock();
        listen();
        catch("a test", || panic!("first")).expect_err("panics");
        let second = catch("a test", || std::panic::resume_unwind(Box::new(())));
        let text = second.expect_err("unwinds").to_string();
        assert!(!text.contains("first"), "{text}");
    }

    #[test]
    fn a_panic_of_a_compilers_thread_keeps_its_message() {
        let _one = ONE_AT_A_TIME.lock();
        listen();
        let panicked = catch("a test", || {
            let thread = std::thread::spawn(|| panic!("elsewhere"));
            std::panic::resume_unwind(thread.join().expect_err("panics"));
        });
        let text = panicked.expect_err("unwinds").to_string();
        assert!(text.contains(", at "), "{text}");
    }

    /// Runs itself in another process: this one would end.
    #[test]
    fn a_panic_where_nothing_may_unwind_is_printed() {
        const SELF: &str = "panics::tests::a_panic_where_nothing_may_unwind_is_printed";
        extern "C" fn cannot_unwind() {
            panic!("for a reason");
        }
        if std::env::var_os("WASM_COMPILE_CACHE_TEST_ABORTS").is_some() {
            listen();
            cannot_unwind();
        }
        let this = std::env::current_exe().expect("a program");
        let mut child = std::process::Command::new(this);
        child.args([SELF, "--exact", "--nocapture"]);
        child.env("WASM_COMPILE_CACHE_TEST_ABORTS", "1");
        let ended = child.output().expect("a process");
        let printed = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success());
        assert!(
            printed.contains("wasm-compile-cache: for a reason, at "),
            "{printed}"
        );
    }
}
