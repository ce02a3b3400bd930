//! generate <first seed> <count> <small|large|tries> [exceptions] [extended-const] [multi-memory]: writes a module for each seed to
//! stdout, after its length in four bytes, the least significant first.

use std::io::{Write, stdout};

use anyhow::{Context, Result, bail};
use difference_modules::{Features, Profile, generate};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = || {
        args.next()
            .context("a number is missing")?
            .parse::<u64>()
            .context("no number")
    };
    let (first, count) = (number()?, number()?);
    let profile = match args.next().as_deref() {
        Some("small") => Profile::Small,
        Some("large") => Profile::Large,
        Some("tries") => Profile::Tries,
        _ => bail!("small, large or tries?"),
    };
    let mut features = Features::default();
    for name in args {
        match name.as_str() {
            "exceptions" => features.exceptions = true,
            "extended-const" => features.extended_const = true,
            "multi-memory" => features.multi_memory = true,
            _ => bail!("there is no feature {name}"),
        }
    }
    let mut out = stdout().lock();
    for seed in first..first + count {
        let module = generate(seed, profile, features)?;
        out.write_all(&u32::try_from(module.len())?.to_le_bytes())?;
        out.write_all(&module)?;
    }
    Ok(())
}
