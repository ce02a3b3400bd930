//! Running a chain of functions and comparing with what must have happened.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;

use wasmer_types::RawValue;
use wasmer_vm::VMGlobalDefinition;

use super::function::{Function, Key, Source, Use};
use super::host::invoke;
use super::signature::{Random, Signature, significant};
use super::unit::Instance;

/// Where a recorded value is.
#[derive(Clone)]
pub enum Place {
    /// In an instance.
    Global(*mut VMGlobalDefinition),
    /// In a host function.
    Host(Rc<Cell<u128>>),
}

/// All places that the functions of some chains write and read.
#[derive(Clone, Default)]
pub struct Places(HashMap<Key, Place>);

impl Places {
    /// Adds an instance's globals.
    pub fn add(&mut self, instance: &Instance) {
        for (key, address) in &instance.globals {
            let known = self.0.insert(*key, Place::Global(*address as *mut _));
            assert!(known.is_none(), "two functions of a chain have one role");
        }
    }

    /// The place of a host function's key.
    pub fn host(&mut self, key: Key) -> Place {
        let new = || Place::Host(Rc::default());
        self.0.entry(key).or_insert_with(new).clone()
    }

    fn read(&self, key: Key) -> u128 {
        let bits = match &self.0[&key] {
            Place::Global(definition) => {
                // SAFETY: the group is alive, and no code of it runs now.
                let value = unsafe { (**definition).val };
                // SAFETY: every bit pattern is a valid u128.
                unsafe { value.u128 }
            }
            Place::Host(cell) => cell.get(),
        };
        key.value(bits)
    }

    fn write(&self, key: Key, bits: u128) {
        match self.0.get(&key) {
            Some(Place::Global(definition)) => {
                let value = RawValue { u128: bits };
                // SAFETY: the group is alive, and no code of it runs now.
                unsafe { (**definition).val = value };
            }
            Some(Place::Host(cell)) => cell.set(bits),
            // A value that always comes from somewhere else.
            None => {}
        }
    }
}

/// Functions that call each other, the first one first.
pub struct Chain<'a> {
    /// Anyfunc of the first one.
    pub head: usize,
    pub functions: Vec<&'a Function>,
}

impl Chain<'_> {
    /// Runs it once, with fresh random values everywhere.
    ///
    /// # Errors
    /// What differs.
    pub fn run(&self, places: &Places, random: &mut Random) -> Result<(), String> {
        for function in &self.functions {
            let mut keys = function.passed();
            keys.extend(function.returned());
            keys.extend(function.held(Use::Held));
            for key in keys {
                places.write(key, random.bits());
            }
        }
        let Signature { params, results } = &self.functions[0].signature;
        let args: Vec<u128> = params.iter().map(|_| random.bits()).collect();
        let mut values = vec![RawValue::default(); params.len().max(results.len())];
        for (value, bits) in values.iter_mut().zip(&args) {
            value.u128 = *bits;
        }
        invoke(self.head, &mut values).map_err(|trap| self.failure(&trap.to_string()))?;

        let mut passed: Vec<u128> = params
            .iter()
            .zip(args)
            .map(|(ty, bits)| significant(*ty, bits))
            .collect();
        for function in &self.functions {
            self.same(places, &function.received(), &passed)?;
            passed = follow(places, &function.args, &function.passed(), &passed);
            let held = function.held(Use::Held);
            let held: Vec<u128> = held.into_iter().map(|key| places.read(key)).collect();
            let held_types = function.held(Use::Kept);
            self.same(places, &held_types, &held)?;
        }
        let mut returned = Vec::new();
        for function in self.functions.iter().rev() {
            self.same(places, &function.came_back(), &returned)?;
            returned = follow(places, &function.returns, &function.returned(), &returned);
        }
        for (index, (value, expected)) in values.iter().zip(returned).enumerate() {
            // SAFETY: every bit pattern is a valid u128.
            let actual = significant(results[index], unsafe { value.u128 });
            if actual != expected {
                let what = format!("result {index} is {actual:#x}, not {expected:#x}");
                return Err(self.failure(&what));
            }
        }
        Ok(())
    }

    fn same(&self, places: &Places, keys: &[Key], expected: &[u128]) -> Result<(), String> {
        for (key, expected) in keys.iter().zip(expected) {
            let actual = places.read(*key);
            if actual != *expected {
                let what = format!("{key:?} is {actual:#x}, not {expected:#x}");
                return Err(self.failure(&what));
            }
        }
        Ok(())
    }

    fn failure(&self, what: &str) -> String {
        let mut text = what.to_owned();
        for function in &self.functions {
            let via = function.call.as_ref().map(|call| call.via);
            let _ = write!(text, "\n    {}, calls {via:?}", function.signature);
        }
        text
    }
}

/// The values that a function passes on: its own, or those of its globals.
fn follow(places: &Places, sources: &[Source], keys: &[Key], own: &[u128]) -> Vec<u128> {
    let values = sources.iter().zip(keys).map(|(source, key)| match source {
        Source::Value(index) => own[*index],
        Source::Global => places.read(*key),
    });
    values.collect()
}

/// Counts runs and collects what went wrong.
#[derive(Default)]
pub struct Verdict {
    pub runs: usize,
    failures: Vec<String>,
}

impl Verdict {
    /// Takes in a run; `tiers` says which code the functions had.
    pub fn add(&mut self, tiers: &str, outcome: Result<(), String>) {
        self.runs += 1;
        if let Err(what) = outcome {
            self.failures.push(format!("{tiers}: {what}"));
        }
    }

    /// # Panics
    /// If any run went wrong.
    pub fn check(&self) {
        let count = self.failures.len();
        let first = self
            .failures
            .iter()
            .take(if std::env::var_os("ALLF").is_some() {
                100000
            } else {
                12
            })
            .cloned()
            .collect::<Vec<_>>();
        assert!(
            count == 0,
            "{count} of {} runs went wrong:\n{}",
            self.runs,
            first.join("\n")
        );
    }
}
