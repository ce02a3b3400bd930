//! What this engine does without, because something it relies on does not hold here.
//!
//! Several features rely on what nobody promises: where wasmer's stacks end, in which order Node-API checks its
//! arguments, a symbol of V8's (docs/development/assumptions.md). Each of them is checked before it is used for the first
//! time. One whose check fails is off, and says so: the event `featureOff`, which NODE_DEBUG shows, and a line of
//! `doctor`.

use parking_lot::Mutex;

use crate::trace::announce;

/// A feature that is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Off {
    /// In words that a user understands.
    pub feature: &'static str,
    /// What does not hold.
    pub reason: String,
}

static OFF: Mutex<Vec<Off>> = Mutex::new(Vec::new());

/// The feature is off from now on. It is said once for each reason.
pub fn off(feature: &'static str, reason: impl Into<String>) {
    let off = Off {
        feature,
        reason: reason.into(),
    };
    {
        let mut known = OFF.lock();
        if known.contains(&off) {
            return;
        }
        known.push(off.clone());
    }
    let fields = [("feature", feature.into()), ("reason", off.reason.into())];
    announce("featureOff", &fields);
}

/// All that are off.
pub fn all_off() -> Vec<Off> {
    OFF.lock().clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{EventQueue, Field};

    #[test]
    fn every_environment_hears_once_of_what_is_off() {
        let queues: Vec<_> = (0..2).map(|_| EventQueue::new(Box::new(|| {}))).collect();
        for queue in &queues {
            queue.hears_of_the_process();
        }
        for _ in 0..2 {
            off("a test's feature", "a test has said so");
        }
        for queue in queues {
            let events = queue.drain();
            let own = events.iter().filter(|event| {
                let text = |(_, field): &(&str, Field)| matches!(field, Field::Text(text) if text == "a test has said so");
                event.name == "featureOff" && event.fields.iter().any(text)
            });
            assert_eq!(own.count(), 1);
        }
        let own = |off: &Off| off.feature == "a test's feature";
        assert_eq!(all_off().iter().filter(|off| own(off)).count(), 1);
    }
}
