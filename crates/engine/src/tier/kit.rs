//! Trampolines: from the host into a function of a signature, and from compiled code into a host function of one.
//!
//! They depend on the signature alone, so the process has them once. Small modules by the thousand (those of a
//! just-in-time compiler, say) have few signatures among them, and making trampolines takes longer than their bodies do.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use wasm_encoder::{EntityType, ImportSection, Module as Encoder, TypeSection};
use wasmer_compiler::{Artifact, BaseTunables};
use wasmer_types::entity::EntityRef;
use wasmer_types::{FunctionType, SignatureIndex, Type};
use wasmer_vm::{FunctionBodyPtr, VMFunctionBody, VMSignatureHash, VMTrampoline};

use super::engine;
use super::loaded::Loaded;
use crate::error::CompileError;
use crate::module::encoded;

/// The trampolines of one signature.
pub struct Kit {
    call: VMTrampoline,
    /// Only where somebody needed it: most signatures are of no import.
    dynamic: Option<FunctionBodyPtr>,
    signature: VMSignatureHash,
    loaded: Arc<Loaded>,
}

impl Kit {
    /// From compiled code into a host function.
    pub fn dynamic_trampoline(&self) -> *const VMFunctionBody {
        self.dynamic.map_or(std::ptr::null(), |body| body.0)
    }

    /// From the host into a function.
    pub fn call_trampoline(&self) -> VMTrampoline {
        self.call
    }

    /// What `call_indirect` compares.
    pub fn signature(&self) -> VMSignatureHash {
        self.signature
    }

    /// The code of its trampolines.
    pub(super) fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }
}

/// So many kits stay although nobody has them: the next module will need them again.
const KEPT: usize = 256;

#[derive(Default)]
struct Kits {
    known: HashMap<FunctionType, Weak<Kit>>,
    /// The newest ones.
    kept: VecDeque<Arc<Kit>>,
}

impl Kits {
    fn find(&self, ty: &FunctionType, dynamic: bool) -> Option<Arc<Kit>> {
        let kit = self.known.get(ty)?.upgrade()?;
        (!dynamic || kit.dynamic.is_some()).then_some(kit)
    }

    fn add(&mut self, ty: FunctionType, kit: Arc<Kit>) {
        self.known.insert(ty, Arc::downgrade(&kit));
        self.kept.push_back(kit);
        if self.kept.len() > KEPT {
            self.kept.pop_front();
            self.known.retain(|_, kit| kit.strong_count() > 0);
        }
    }
}

static KITS: LazyLock<Mutex<Kits>> = LazyLock::new(Mutex::default);

/// The kit of a signature, for host functions.
///
/// # Errors
/// The signature cannot be compiled.
pub fn kit(ty: &FunctionType) -> Result<Arc<Kit>, CompileError> {
    let kits = kits(&[(ty.clone(), true)])?;
    kits.into_iter().next().ok_or_else(missing)
}

fn missing() -> CompileError {
    CompileError::unsupported("a signature has no trampolines")
}

/// The kits of signatures, in their order. Where the flag is set, the kit has a trampoline for host functions. What is
/// missing is compiled at once, in one piece of code.
pub(super) fn kits(wanted: &[(FunctionType, bool)]) -> Result<Vec<Arc<Kit>>, CompileError> {
    let mut found: Vec<Option<Arc<Kit>>> = {
        let kits = KITS.lock();
        let find = |(ty, dynamic): &(FunctionType, bool)| kits.find(ty, *dynamic);
        wanted.iter().map(find).collect()
    };
    let mut absent: HashMap<&FunctionType, bool> = HashMap::new();
    for ((ty, dynamic), _) in wanted.iter().zip(&found).filter(|(_, kit)| kit.is_none()) {
        *absent.entry(ty).or_default() |= dynamic;
    }
    if !absent.is_empty() {
        // Not locked: other modules need not wait. Two that need the same one make it twice, and either is right.
        let made = make(absent.into_iter().collect())?;
        let mut kits = KITS.lock();
        for (ty, kit) in &made {
            kits.add((*ty).clone(), Arc::clone(kit));
        }
        for ((ty, _), found) in wanted.iter().zip(&mut found) {
            if found.is_none() {
                *found = made.get(ty).cloned();
            }
        }
    }
    let found: Option<_> = found.into_iter().collect();
    found.ok_or_else(missing)
}

fn make(
    wanted: Vec<(&FunctionType, bool)>,
) -> Result<HashMap<&FunctionType, Arc<Kit>>, CompileError> {
    let engine = engine::cranelift_trampolines();
    let artifact = Artifact::new(&engine, &importer(&wanted), &BaseTunables::new(), None)
        .map_err(|error| CompileError::unsupported(error.to_string()))?;
    let loaded = Loaded::new(&artifact, engine, None, None);
    let calls = artifact.finished_function_call_trampolines();
    let signatures = artifact.signatures();
    let mut dynamic = artifact.finished_dynamic_function_trampolines().values();
    let kits = wanted.into_iter().enumerate();
    let kits = kits.map(|(index, (ty, imported))| {
        let index = SignatureIndex::new(index);
        let kit = Kit {
            call: calls[index],
            dynamic: imported.then(|| dynamic.next().copied()).flatten(),
            signature: signatures[index],
            loaded: Arc::clone(&loaded),
        };
        (ty, Arc::new(kit))
    });
    Ok(kits.collect())
}

/// A module that declares the signatures, and imports a function of each whose flag is set.
fn importer(wanted: &[(&FunctionType, bool)]) -> Vec<u8> {
    let values = |types: &[Type]| types.iter().copied().map(encoded).collect::<Vec<_>>();
    let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
    for (index, (ty, imported)) in (0..).zip(wanted) {
        types
            .ty()
            .function(values(ty.params()), values(ty.results()));
        if *imported {
            imports.import("", "", EntityType::Function(index));
        }
    }
    let mut module = Encoder::new();
    module.section(&types).section(&imports);
    module.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of nobody else's: kits are the process'.
    fn rare(params: usize) -> FunctionType {
        FunctionType::new(vec![Type::F32; params], [Type::F64])
    }

    #[test]
    fn a_signature_has_one_kit_and_its_dynamic_trampoline_when_it_is_needed() {
        let [first, second] = [rare(31), rare(32)];
        let wanted = [(first.clone(), false), (second.clone(), true)];
        let made = kits(&wanted).expect("compiles");
        assert!(made[0].dynamic.is_none() && made[1].dynamic.is_some());
        assert!(Arc::ptr_eq(made[0].loaded(), made[1].loaded()), "at once");
        assert_ne!(made[0].signature(), made[1].signature());

        let again = kits(&wanted).expect("is there");
        assert!(Arc::ptr_eq(&made[0], &again[0]) && Arc::ptr_eq(&made[1], &again[1]));

        let host = kit(&first).expect("compiles");
        assert!(!host.dynamic_trampoline().is_null());
        assert!(Arc::ptr_eq(&host, &kits(&wanted).expect("is there")[0]));
    }

    #[test]
    fn kits_that_nobody_has_do_not_pile_up() {
        let mut kits = Kits::default();
        let loaded = Arc::clone(kit(&rare(30)).expect("compiles").loaded());
        let add = |kits: &mut Kits, params: usize| {
            let like = kit(&rare(30)).expect("is there");
            let kit = Arc::new(Kit {
                call: like.call,
                dynamic: None,
                signature: like.signature,
                loaded: Arc::clone(&loaded),
            });
            kits.add(rare(params), Arc::clone(&kit));
            kit
        };
        let held = add(&mut kits, 1000);
        for params in 0..2 * KEPT {
            drop(add(&mut kits, params));
        }
        assert_eq!(kits.kept.len(), KEPT);
        assert_eq!(kits.known.len(), KEPT + 1, "and the one that is held");
        assert!(
            kits.find(&rare(1000), false)
                .is_some_and(|kit| Arc::ptr_eq(&kit, &held))
        );
    }
}
