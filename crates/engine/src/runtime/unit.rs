//! What comes and goes within a link group: instances, and host functions that JavaScript puts into tables.
//!
//! Programs make instances for as long as they run, share a table with them and drop them (just-in-time compilers,
//! Emscripten's `addFunction`). So a group is swept from time to time, and what neither JavaScript nor anything of
//! WebAssembly can reach any more is freed. V8's collector knows one side of that, and only native the other:
//!
//! - JavaScript has an object for every unit, which everything holds that could call into it. Native holds it weakly.
//! - [`Group::sweep`] finds what the group's tables, its globals and its exceptions can reach (*held*: JavaScript holds
//!   their objects), and says what the tables and globals of a unit's own hold (*contents*: its object holds theirs).
//!   All other units are *loose*: they are there for as long as JavaScript has their object.
//! - A loose unit that is called, or whose function goes to WebAssembly, is held again until the next sweep, because
//!   WebAssembly may store what it can reach without being seen.
//!
//! Invariant: whatever WebAssembly can reach has its JavaScript object. A unit that was loose has been called or passed
//! before WebAssembly could reach it again; what others reach through it was among its contents or its imports then.
//!
//! Invariant: a unit is freed only when nothing reaches it that is held, or that JavaScript has, no call of its host
//! functions is under way, and nothing on this thread's stacks looks like an address of its functions or its `VMContext`
//! ([`super::scan`]). Its code stays for as long as anything there looks like an address in it.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use wasmer_types::entity::EntityRef;
use wasmer_types::{ExportIndex, GlobalIndex, LocalFunctionIndex, TableIndex, Type};
use wasmer_vm::{TableElement, VMCallerCheckedAnyfunc, VMExtern, VMInstance, VMTable};

use super::group::{FunctionMeta, Group};
use super::libcall;
use super::member::{Anyfuncs, Member, Part, Region, Retired, UnitId};
use super::scan;
use super::stack;
use crate::module::Declaration;
use crate::tier::declaration_near;

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Units whose objects JavaScript has to hold. Something on the stack may look like one whose object is gone.
    pub held: Vec<UnitId>,
    /// Units that are there for as long as JavaScript has their objects.
    pub loose: Vec<UnitId>,
    /// Units of which a unit's own tables and globals hold functions.
    pub contents: Vec<(UnitId, Vec<UnitId>)>,
    /// Units that were freed.
    pub freed: Vec<UnitId>,
}

/// Nothing is mapped below.
const PAGE: u64 = 4096;

const ANYFUNC: usize = size_of::<VMCallerCheckedAnyfunc>();

impl Group {
    /// The instances.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.units
            .iter()
            .flatten()
            .filter_map(|unit| match &unit.part {
                Part::Instance(member) => Some(&**member),
                Part::Host(_) => None,
            })
    }

    /// A number for a unit that is about to be made.
    pub(super) fn reserve_unit(&mut self) -> UnitId {
        self.vacant_units.pop().unwrap_or_else(|| {
            self.units.push(None);
            self.units.len() - 1
        })
    }

    /// Anyfuncs from `start` on belong to `unit`.
    pub(super) fn map_region(&mut self, start: usize, count: usize, unit: UnitId, what: Anyfuncs) {
        if count > 0 {
            let end = start + count * ANYFUNC;
            self.regions.insert(start, Region { end, unit, what });
        }
    }

    fn region(&self, address: usize) -> Option<(usize, &Region)> {
        let (start, region) = self.regions.range(..=address).next_back()?;
        let offset = address - start;
        (address < region.end && offset.is_multiple_of(ANYFUNC))
            .then_some((offset / ANYFUNC, region))
    }

    /// The unit of a function by the address of its anyfunc.
    pub fn unit_of(&self, address: usize) -> Option<UnitId> {
        Some(self.region(address)?.1.unit)
    }

    /// Which member's local function has its slot at this address.
    pub(super) fn member_of(&self, address: usize) -> Option<(&Member, u32)> {
        let (nth, region) = self.region(address)?;
        match (region.what, &self.units[region.unit].as_ref()?.part) {
            (Anyfuncs::Slots, Part::Instance(member)) => Some((member, nth as u32)),
            _ => None,
        }
    }

    /// Which import of its module a function is, if it is a host function that an instance imports.
    pub fn import_index(&self, address: usize) -> Option<u32> {
        match self.region(address)?.1.what {
            Anyfuncs::Import(index) => Some(index.as_u32()),
            _ => None,
        }
    }

    /// What is known of the function whose anyfunc has this address; `None` if it is none of the
    /// group's.
    pub fn function(&self, address: usize) -> Option<FunctionMeta> {
        let (nth, region) = self.region(address)?;
        let member = match &self.units[region.unit].as_ref()?.part {
            Part::Host(host) => {
                return Some(FunctionMeta {
                    ty: host.ty.clone(),
                    index: 0,
                });
            }
            Part::Instance(member) => member,
        };
        let info = &member.module.declaration.info;
        let index = match region.what {
            Anyfuncs::Import(index) => index,
            _ => info.func_index(LocalFunctionIndex::new(nth)),
        };
        Some(FunctionMeta {
            ty: info.signatures[info.functions[index]].clone(),
            index: index.as_u32(),
        })
    }

    /// Frees the units that nothing can reach; `has_object` says whether JavaScript has a unit's object.
    pub fn sweep(&mut self, has_object: impl Fn(UnitId) -> bool) -> Sweep {
        let mut sweep = Sweep::default();
        let mut found = Found::new(self.units.len());

        for (id, unit) in self.units.iter().enumerate() {
            if unit
                .as_ref()
                .is_some_and(|unit| unit.pinned || unit.is_running())
            {
                found.add(id);
            }
        }
        self.roots(&mut found);
        let running = self.on_stacks(&mut found);
        self.follow(&mut found, &mut sweep.contents);
        let held = found.marked.clone();
        for (id, unit) in self.units.iter().enumerate() {
            if unit.is_some() && !held[id] && has_object(id) {
                found.add(id);
            }
        }
        self.follow(&mut found, &mut sweep.contents);

        let marked = found.marked;
        for (id, unit) in self.units.iter().enumerate() {
            match unit {
                None => {}
                Some(_) if held[id] => sweep.held.push(id),
                Some(_) if marked[id] => sweep.loose.push(id),
                Some(_) => sweep.freed.push(id),
            }
        }
        self.free(&sweep.freed);
        self.retired
            .retain(|code| running.contains(&Arc::as_ptr(&code.module.declaration)));
        sweep
    }

    /// What this thread's stacks hold; the declarations of modules that may have frames there.
    fn on_stacks(&self, found: &mut Found) -> HashSet<*const Declaration> {
        let mut modules = HashSet::new();
        if !stack::is_inside() {
            return modules;
        }
        let mut contexts: Vec<_> = self
            .units
            .iter()
            .enumerate()
            .filter_map(|(id, unit)| match &unit.as_ref()?.part {
                Part::Instance(member) => Some((context_of(&member.instance), id)),
                Part::Host(_) => None,
            })
            .collect();
        contexts.sort_unstable_by_key(|(context, _)| context.start);
        scan::each_word(&mut |word: u64| {
            let address = word as usize;
            // No pointer: small, or negative.
            if word >> 47 != 0 || word < PAGE {
                return;
            }
            self.note(address, &mut |unit| found.add(unit));
            let behind = contexts.partition_point(|(context, _)| context.start <= address);
            if let Some((context, unit)) = behind.checked_sub(1).map(|at| &contexts[at])
                && context.contains(&address)
            {
                found.add(*unit);
            }
            if let Some(declaration) = declaration_near(address) {
                modules.insert(Arc::as_ptr(&declaration));
            }
        });
        modules
    }

    /// What the group itself holds.
    fn roots(&self, found: &mut Found) {
        let visit = &mut |unit| found.add(unit);
        for known in 0..self.table_count() {
            if let Some(table) = self.table(known) {
                self.functions_in(table, visit);
            }
        }
        for global in self.host_globals(Type::FuncRef) {
            // SAFETY: a function reference.
            self.note(unsafe { global.funcref }, visit);
        }
        // SAFETY: compiled code, which refers to them while it makes one, waits for the host.
        let exceptions = unsafe { &*self.exceptions.get() };
        for value in exceptions.payload_values(&self.objects, Type::FuncRef) {
            // SAFETY: a function reference.
            self.note(unsafe { value.funcref }, visit);
        }
    }

    /// Marks what is reached from what is marked already.
    fn follow(&mut self, found: &mut Found, contents: &mut Vec<(UnitId, Vec<UnitId>)>) {
        while let Some(id) = found.pending.pop() {
            let Some(unit) = &self.units[id] else {
                continue;
            };
            for import in &unit.imports {
                found.add(*import);
            }
            let mut own = Vec::new();
            self.contents_of(id, &mut |other| own.push(other));
            own.sort_unstable();
            own.dedup();
            own.retain(|other| *other != id);
            if !own.is_empty() {
                for other in &own {
                    found.add(*other);
                }
                contents.push((id, own));
            }
        }
    }

    /// The units of which the tables and globals that a unit defines hold functions.
    fn contents_of(&mut self, id: UnitId, visit: &mut impl FnMut(UnitId)) {
        let Some(Part::Instance(member)) = self.units[id].as_mut().map(|unit| &mut unit.part)
        else {
            return;
        };
        let info = Arc::clone(&member.module.declaration.info);
        // The hidden one, behind them, holds its own functions only.
        let tables = member.module.declaration.tables.len();
        let mut handles = Vec::new();
        for index in info.num_imported_tables..tables {
            let export = ExportIndex::Table(TableIndex::new(index));
            if let VMExtern::Table(handle) = member.instance.lookup_by_declaration(export) {
                handles.push(handle);
            }
        }
        let mut values = Vec::new();
        for (index, ty) in info.globals.iter().skip(info.num_imported_globals) {
            if ty.ty != Type::FuncRef {
                continue;
            }
            let export = ExportIndex::Global(GlobalIndex::new(index.index()));
            if let VMExtern::Global(handle) = member.instance.lookup_by_declaration(export) {
                let definition = handle.get(&self.objects).vmglobal();
                // SAFETY: the definition lives in the instance.
                values.push(unsafe { definition.read() }.val);
            }
        }
        for handle in handles {
            self.functions_in(handle.get(&self.objects), visit);
        }
        for value in values {
            // SAFETY: a function reference.
            self.note(unsafe { value.funcref }, visit);
        }
    }

    /// The units of a table's functions, most of them once.
    fn functions_in(&self, table: &VMTable, visit: &mut impl FnMut(UnitId)) {
        if table.ty().ty != Type::FuncRef {
            return;
        }
        // Most neighbours belong to one instance.
        let mut last = 0..0;
        for index in 0..table.size() {
            let Some(TableElement::FuncRef(Some(function))) = table.get(index) else {
                continue;
            };
            let address = function.0.as_ptr() as usize;
            if !last.contains(&address)
                && let Some((nth, region)) = self.region(address)
            {
                visit(region.unit);
                last = address - nth * ANYFUNC..region.end;
            }
        }
    }

    fn note(&self, address: usize, visit: &mut impl FnMut(UnitId)) {
        if let Some(unit) = self.unit_of(address) {
            visit(unit);
        }
    }

    fn free(&mut self, freed: &[UnitId]) {
        let mut contexts = Vec::new();
        let mut exporters = HashMap::new();
        let mut units = Vec::new();
        for id in freed {
            let Some(unit) = self.units[*id].take() else {
                continue;
            };
            self.vacant_units.push(*id);
            for start in &unit.starts {
                self.regions.remove(start);
            }
            if let Part::Instance(member) = &unit.part {
                member.module.registered.detach(member.id);
                contexts.push(context_of(&member.instance));
            }
            for import in &unit.imports {
                if let Some(Part::Instance(member)) =
                    self.units[*import].as_ref().map(|unit| &unit.part)
                {
                    exporters.insert(*import, (Arc::clone(&member.module), member.id));
                }
            }
            units.push(unit);
        }
        contexts.sort_by_key(|context| context.start);
        let gone = |record: usize| {
            let behind = contexts.partition_point(|context| context.start <= record);
            behind > 0 && contexts[behind - 1].contains(&record)
        };
        let freed: HashSet<_> = freed.iter().collect();
        for (id, (module, instance)) in exporters {
            if !freed.contains(&id) {
                module.registered.forget_dependents(instance, gone);
            }
        }
        self.references.forget(&self.objects, gone);
        for unit in units {
            if let Part::Instance(member) = unit.part {
                let Member {
                    module,
                    instance,
                    holdings,
                    hosts,
                    hooked,
                    library,
                    trampolines,
                    ..
                } = *member;
                self.retired.push(Retired {
                    module,
                    _trampolines: trampolines,
                });
                drop(library);
                libcall::unhook(hooked);
                self.vacancies.vacate(&mut self.objects, holdings);
                drop(instance);
                drop(hosts);
            }
        }
    }
}

/// Where an instance's `VMContext` lies.
fn context_of(instance: &VMInstance) -> Range<usize> {
    let start = instance.vmctx_ptr() as usize;
    start..start + instance.vmoffsets().size_of_vmctx() as usize
}

/// Units that were reached, and those of them that were not looked at yet.
struct Found {
    marked: Vec<bool>,
    pending: Vec<UnitId>,
}

impl Found {
    fn new(units: usize) -> Self {
        Self {
            marked: vec![false; units],
            pending: Vec::new(),
        }
    }

    fn add(&mut self, unit: UnitId) {
        if !mem::replace(&mut self.marked[unit], true) {
            self.pending.push(unit);
        }
    }
}
