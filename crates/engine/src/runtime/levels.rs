//! How many calls of WebAssembly can be under way in a process.
//!
//! Each has a stack, which is two mappings, or three (`stack.rs`), and Linux allows a process 65,530. V8
//! cannot do without new ones: where the last is taken, the process ends. So calls are refused before.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A thread's first levels are not counted: counting costs, and few threads go deeper.
pub(super) const SHALLOW: usize = 32;

/// Nothing was called, because too many calls are under way.
#[derive(Debug, thiserror::Error)]
#[error("too many calls are under way")]
pub(super) struct TooDeep;

/// All threads'.
static DEEP: AtomicUsize = AtomicUsize::new(0);

/// A call under way that has [`SHALLOW`] others of its thread around it.
pub(super) struct DeepLevel<'count>(&'count AtomicUsize);

impl DeepLevel<'_> {
    /// `None` where there are as many as the process can have, at so many mappings each.
    #[cold]
    pub(super) fn begin(mappings: usize) -> Option<Self> {
        Self::of(&DEEP, most(mappings))
    }

    fn of(count: &AtomicUsize, most: usize) -> Option<DeepLevel<'_>> {
        let level = DeepLevel(count);
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(level)
    }
}

impl Drop for DeepLevel<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(target_os = "linux")]
fn most(each: usize) -> usize {
    use std::sync::OnceLock;

    /// What stays for others.
    const RESERVE: usize = 8192;
    /// What Linux allows if nobody said otherwise.
    const USUAL: usize = 65_530;
    static MAPPINGS: OnceLock<usize> = OnceLock::new();
    let mappings = MAPPINGS.get_or_init(|| {
        let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        let limit = limit.ok().and_then(|text| text.trim().parse().ok());
        limit.unwrap_or(USUAL).saturating_sub(RESERVE)
    });
    mappings / each
}

/// As many as there is memory for.
#[cfg(not(target_os = "linux"))]
fn most(_each: usize) -> usize {
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_while_they_last() {
        let count = AtomicUsize::new(0);
        let first = DeepLevel::of(&count, 2);
        let second = DeepLevel::of(&count, 2);
        assert!(first.is_some() && second.is_some());
        assert!(DeepLevel::of(&count, 2).is_none());
        assert_eq!(count.load(Ordering::Relaxed), 2);
        drop(first);
        assert!(DeepLevel::of(&count, 2).is_some());
    }
}
