//! For which processors the optimizing tier makes code: this machine's, or all of a level, so that unlike machines can share it.

use std::sync::{LazyLock, OnceLock};

use wasmer_types::target::{CpuFeature, Target};

/// The levels of x86-64 (System V psABI), each with all features below it, as far as the compiler uses them.
const LEVELS: [(&str, &[CpuFeature]); 2] = [
    (
        "x86-64-v2",
        &[
            CpuFeature::SSE2,
            CpuFeature::SSE3,
            CpuFeature::SSSE3,
            CpuFeature::SSE41,
            CpuFeature::SSE42,
            CpuFeature::POPCNT,
        ],
    ),
    (
        "x86-64-v3",
        &[
            CpuFeature::AVX,
            CpuFeature::AVX2,
            CpuFeature::BMI1,
            CpuFeature::BMI2,
            CpuFeature::FMA,
            CpuFeature::LZCNT,
        ],
    ),
];

const NATIVE: &str = "native";

/// Why code is made for this machine, and not for the level that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLevel {
    /// There is none of that name, or it is another architecture's.
    #[error("{0} is none of native, x86-64-v2, x86-64-v3")]
    Unknown(String),
    /// What was made could not be run here.
    #[error("this processor is none of {level}: it has no {missing}")]
    Beyond {
        /// What was asked for.
        level: String,
        /// Features, with commas.
        missing: String,
    },
}

/// This machine. Asked once: in a virtual machine each question to the processor takes microseconds.
pub(super) fn native() -> Target {
    static MACHINE: LazyLock<Target> = LazyLock::new(Target::default);
    MACHINE.clone()
}

static CHOSEN: OnceLock<Target> = OnceLock::new();

/// What the optimizing tier's code is made for.
pub(super) fn chosen() -> Target {
    CHOSEN.get_or_init(native).clone()
}

/// From now on the optimizing tier makes code for a level. The first call counts for the whole process, and only before anything is
/// looked up.
///
/// # Errors
/// It makes code for this machine.
pub fn compile_for(level: &str) -> Result<(), NoLevel> {
    let machine = native();
    let target = if level == NATIVE {
        machine
    } else {
        of_level(level, &machine)?
    };
    let _ = CHOSEN.set(target);
    Ok(())
}

/// From now on the optimizing tier makes code for the highest level that this machine has, which others of a fleet probably have;
/// for this machine, where there are no levels. As [`compile_for`], the first call counts.
pub fn compile_for_highest_level() {
    let machine = native();
    let mut levels = LEVELS.iter().rev();
    if let Some(target) = levels.find_map(|(level, _)| of_level(level, &machine).ok()) {
        let _ = CHOSEN.set(target);
    }
}

fn of_level(level: &str, machine: &Target) -> Result<Target, NoLevel> {
    let index = LEVELS.iter().position(|(name, _)| *name == level);
    let index = index.filter(|_| cfg!(target_arch = "x86_64"));
    let index = index.ok_or_else(|| NoLevel::Unknown(level.to_owned()))?;
    let mut features = CpuFeature::set();
    let needed = LEVELS[..=index].iter();
    features.extend(needed.flat_map(|(_, needed)| needed.iter().copied()));
    let missing: Vec<_> = (features - *machine.cpu_features())
        .iter()
        .map(|feature| feature.to_string())
        .collect();
    if !missing.is_empty() {
        return Err(NoLevel::Beyond {
            level: level.to_owned(),
            missing: missing.join(", "),
        });
    }
    Ok(Target::new(machine.triple().clone(), features))
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    fn machine(missing: &[CpuFeature]) -> Target {
        let features = LEVELS.iter().flat_map(|(_, features)| *features);
        let features = features.filter(|feature| !missing.contains(feature));
        Target::new(native().triple().clone(), features.copied().collect())
    }

    #[test]
    fn a_level_has_what_is_below_it_and_nothing_of_the_machines_own() {
        let mut features = *machine(&[]).cpu_features();
        features.insert(CpuFeature::AVX512F);
        let machine = Target::new(native().triple().clone(), features);
        let of = |level| {
            *of_level(level, &machine)
                .expect("it is reached")
                .cpu_features()
        };
        let (v2, v3) = (of("x86-64-v2"), of("x86-64-v3"));
        assert!(v3.is_superset(v2) && v3 != v2);
        assert!(v2.contains(CpuFeature::SSE42) && !v2.contains(CpuFeature::AVX));
        assert!(v3.contains(CpuFeature::AVX2) && !v3.contains(CpuFeature::AVX512F));
    }

    #[test]
    fn no_code_is_made_that_the_machine_could_not_run() {
        let machine = machine(&[CpuFeature::BMI2, CpuFeature::AVX2]);
        assert!(of_level("x86-64-v2", &machine).is_ok());
        let beyond = of_level("x86-64-v3", &machine).expect_err("it is beyond");
        let told = beyond.to_string();
        assert!(told.contains("avx2") && told.contains("bmi2"), "{told}");
        assert!(!told.contains("sse"), "{told}");
        let unknown = of_level("x86-64-v9", &machine);
        assert_eq!(unknown.err(), Some(NoLevel::Unknown("x86-64-v9".into())));
    }
}
