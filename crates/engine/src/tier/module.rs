//! A module, and how far its code is.

use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Condvar, Mutex};
use wasmer_vm::FunctionBodyPtr;

use super::code::{Code, Misfit, Tier};
use super::hot::{self, Hot};
use super::lazy::{Lazy, Slots};
use super::publish::Registered;
use crate::module::Declaration;
use crate::trace::Listeners;

/// Names a module among the modules of the process; not to be guessed.
pub type Token = [u8; 16];

type Callback = Box<dyn FnOnce(Result<(), String>) + Send>;

/// How far the optimizing tier is.
enum Optimizing {
    /// Not there yet; these want to know, and keep the module until they do.
    Pending(Vec<(Arc<Module>, Callback)>),
    /// Published.
    Done,
    /// It never will be, and why.
    Failed(String),
}

/// A compiled module, shared by all threads of the process.
pub struct Module {
    /// See [`super::registry::token`].
    pub(super) token: OnceLock<Token>,
    /// The bytes, where another engine may have to take over when the module is linked.
    pub wire: OnceLock<Arc<Vec<u8>>>,
    /// What it imports and exports.
    pub declaration: Arc<Declaration>,
    /// Environments that get background events.
    pub listeners: Listeners,
    /// Its code and its living instances.
    pub registered: Registered,
    optimizing: Mutex<Optimizing>,
    /// Called when somebody waits for the optimizing tier.
    wanted: OnceLock<Box<dyn Fn() + Send + Sync>>,
    optimizing_changed: Condvar,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Module")
            .field("hash", &hex::encode(self.declaration.hash))
            .field("tier", &self.tier())
            .finish_non_exhaustive()
    }
}

impl Slots for Module {
    fn fill(&self, of: &Lazy, local: u32, body: FunctionBodyPtr) -> FunctionBodyPtr {
        self.registered.fill(of, local, body)
    }

    fn declaration(&self) -> Weak<Declaration> {
        Arc::downgrade(&self.declaration)
    }
}

impl hot::Owner for Module {
    fn replace(&self, of: &Hot, local: u32, body: FunctionBodyPtr) {
        self.registered.replace(of, local, body);
    }

    fn declaration(&self) -> Weak<Declaration> {
        Arc::downgrade(&self.declaration)
    }
}

impl Module {
    pub(super) fn new(declaration: Declaration, code: Code) -> Arc<Self> {
        let optimizing = match code.tier {
            Tier::Baseline => Optimizing::Pending(Vec::new()),
            Tier::Optimized => Optimizing::Done,
        };
        let declaration = Arc::new(declaration);
        code.belongs_to(&Arc::downgrade(&declaration));
        let (lazy, hot) = (code.lazy.clone(), code.hot.clone());
        let module = Arc::new(Self {
            token: OnceLock::new(),
            wire: OnceLock::new(),
            declaration,
            listeners: Listeners::default(),
            registered: Registered::new(code),
            optimizing: Mutex::new(optimizing),
            wanted: OnceLock::new(),
            optimizing_changed: Condvar::new(),
        });
        let weak = Arc::downgrade(&module);
        if let Some(lazy) = lazy {
            lazy.belongs_to(weak.clone());
        }
        if let Some(hot) = hot {
            hot.belongs_to(weak);
        }
        module
    }

    /// The tier new instances get.
    pub fn tier(&self) -> Tier {
        self.code().tier
    }

    /// The code new instances get.
    pub fn code(&self) -> Arc<Code> {
        self.registered.code()
    }

    /// Puts `code` in the place of the baseline's, everywhere.
    ///
    /// # Errors
    /// The code is another declaration's; nothing has changed.
    pub(super) fn publish(&self, code: Code) -> Result<(), Misfit> {
        code.fits(&self.declaration.info)?;
        code.belongs_to(&Arc::downgrade(&self.declaration));
        self.registered.publish(code);
        Ok(())
    }

    /// `callback` is called when somebody waits for the optimizing tier, from now on.
    pub(super) fn when_wanted(&self, callback: Box<dyn Fn() + Send + Sync>) {
        let _ = self.wanted.set(callback);
    }

    fn want(&self) {
        if let Some(wanted) = self.wanted.get() {
            wanted();
        }
    }

    /// Calls back, on any thread, when the optimizing tier was published or given up; at once if
    /// it already was.
    pub fn when_optimized(self: &Arc<Self>, callback: Callback) {
        self.want();
        let outcome = match &mut *self.optimizing.lock() {
            Optimizing::Pending(callbacks) => {
                callbacks.push((Arc::clone(self), callback));
                return;
            }
            Optimizing::Done => Ok(()),
            Optimizing::Failed(reason) => Err(reason.clone()),
        };
        callback(outcome);
    }

    /// Blocks until the optimizing tier was published or given up.
    ///
    /// # Errors
    /// Why it was given up.
    pub fn wait_optimized(&self) -> Result<(), String> {
        self.want();
        let mut optimizing = self.optimizing.lock();
        loop {
            match &*optimizing {
                Optimizing::Pending(_) => self.optimizing_changed.wait(&mut optimizing),
                Optimizing::Done => return Ok(()),
                Optimizing::Failed(reason) => return Err(reason.clone()),
            }
        }
    }

    pub(super) fn settle(&self, outcome: Result<(), String>) {
        let next = match &outcome {
            Ok(()) => Optimizing::Done,
            Err(reason) => Optimizing::Failed(reason.clone()),
        };
        let before = std::mem::replace(&mut *self.optimizing.lock(), next);
        self.optimizing_changed.notify_all();
        if let Optimizing::Pending(callbacks) = before {
            for (_, callback) in callbacks {
                callback(outcome.clone());
            }
        }
    }
}
