//! Unit tests of `stack.rs`.

use std::error::Error;

use wasmer_vm::Trap;

use super::super::frames::READS;
use super::super::scan::each_word;
use super::*;

unsafe extern "C" fn trampoline(_: *mut VMContext, _: *const VMFunctionBody, _: *mut RawValue) {}

const FRAMES: usize = 8;

/// A stack with a chain of frames, all of which return to address 1; its start and the innermost frame.
fn stack() -> (usize, usize) {
    let words = vec![1_usize; STACK / size_of::<usize>()].leak();
    let start = words.as_ptr() as usize;
    let first = words.len() - 2 * FRAMES;
    for frame in (first..words.len() - 2).step_by(2) {
        words[frame] = start + (frame + 2) * size_of::<usize>();
    }
    (start, start + first * size_of::<usize>())
}

/// Runs `innermost` in so many calls, all of which wait for the host, on one stack.
fn nest(
    zone: &CallStack,
    calls: usize,
    stack: (usize, usize),
    innermost: &mut dyn FnMut(&ActiveCall),
) {
    let entry = zone.entry(trampoline, ptr::null());
    entry.start.set(stack.0);
    entry.host.set(stack.1);
    entry.waiting.wait_at(stack.1);
    let _inside = zone.begin(&entry).expect("few calls");
    if calls == 1 {
        innermost(&entry);
    } else {
        nest(zone, calls - 1, stack, innermost);
    }
}

fn reads(action: impl FnOnce()) -> usize {
    let before = READS.get();
    action();
    READS.get() - before
}

#[test]
fn stacks_are_read_as_far_as_is_asked_for() {
    let (zone, stack) = (CallStack::new(), stack());
    for depth in [20, 2000] {
        nest(&zone, depth, stack, &mut |entry| {
            let trap = Trap::user(Box::<dyn Error + Send + Sync>::from("thrown"));
            let record = || zone.notes.fail(Some(&trap), entry.start(), entry.host());
            assert_eq!(reads(record), 0);
            // The call that failed is among those under way here.
            let traced = reads(|| assert_eq!(zone.trace(10, 18).len(), 18));
            assert_eq!(traced, 18 * 2 * FRAMES);
            assert_eq!(reads(|| assert!(zone.trace(0, 18).len() <= 1)), 0);
        });
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_frame_that_reaches_into_the_zone_is_on_its_stack_as_far_as_there_is_room() {
    let (zone, (start, _)) = (CallStack::new(), stack());
    nest(&zone, 1, (start, start + STACK - 64), &mut |_| {
        for (sp, expected) in [
            (start + STACK - 8, true),
            (start + ZONE - 8, true),
            (start + ZONE / 2 - 8, false),
            (start - 8, false),
            (start + STACK, false),
        ] {
            assert_eq!(zone.is_on_stack(sp), expected, "{}", sp.wrapping_sub(start));
        }
    });
}

/// As wasmer makes them: a guard page, then the stack. Returns its base.
#[cfg(target_os = "linux")]
fn mapped(guard: region::Protection) -> (region::Allocation, usize) {
    let all = region::alloc(STACK + 3 * PAGE, region::Protection::NONE).expect("room");
    let first = all.as_ptr::<u8>();
    // SAFETY: of an allocation that nothing else uses.
    unsafe { region::protect(first.wrapping_add(PAGE), PAGE, guard) }.expect("pages");
    let start = first.wrapping_add(2 * PAGE);
    // SAFETY: as above.
    unsafe { region::protect(start, STACK, region::Protection::READ_WRITE) }.expect("pages");
    (all, start as usize + STACK)
}

#[test]
#[cfg(target_os = "linux")]
fn a_stack_without_its_guard_page_gets_no_zone() {
    use region::Protection;
    let (_all, base) = mapped(Protection::NONE);
    assert_eq!(check(base), Ok(()));
    for wrong in [base - PAGE, base + PAGE, STACK, PAGE] {
        assert!(check(wrong).is_err(), "{wrong:#x}");
    }
    let (_all, base) = mapped(Protection::READ_WRITE);
    assert!(
        !protect_once(base) && !protect_once(base),
        "found once, and remembered"
    );
    let said = features::all_off();
    assert!(said.iter().any(|off| off.reason.contains("guard page")));
    // Its end is as it was.
    assert!(guard::is_readable(base - STACK));
    let (_all, base) = mapped(Protection::NONE);
    assert!(protect_once(base) && protect_once(base));
    assert!(!guard::is_readable(base - STACK), "the zone");
    assert!(guard::is_readable(base - STACK + ZONE));
}

#[test]
#[cfg(target_os = "linux")]
fn of_a_stack_whose_end_is_not_known_what_can_be_read_is_scanned() {
    // SAFETY: this thread's, which is alive.
    let zone = unsafe { &*zone() };
    let (_all, base) = mapped(region::Protection::NONE);
    let scanned = || each_word(&mut |_: u64| {});
    let entry = zone.entry(trampoline, ptr::null());
    let _inside = zone.begin(&entry).expect("few calls");
    entry.top.set(base - 100);
    assert!(scanned() >= (STACK - 100) / size_of::<u64>() - 1);
    entry.waiting.wait_at(base - 4096);
    assert!(scanned() < 4096 / size_of::<u64>() + 100);
    assert!(!zone.is_on_stack(base - 4096), "so nobody interrupts it");
}

#[test]
fn of_a_call_that_waits_what_it_uses_is_scanned() {
    // SAFETY: this thread's, which is alive.
    let (zone, stack) = (unsafe { &*zone() }, stack());
    let scanned = || each_word(&mut |_: u64| {});
    nest(zone, 3, stack, &mut |_| {
        assert!(scanned() < 100);
        zone.host_returned();
        assert!(scanned() > (STACK - ZONE) / size_of::<u64>());
    });
}
