//! The versions that shape compiled code, read out of the lock file, and whether `runtime/throw.rs` is for the target.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(direct_throw)");
    let target = ["ARCH", "OS", "ENV"].map(|part| env::var(format!("CARGO_CFG_TARGET_{part}")));
    if target
        .each_ref()
        .map(|part| part.as_deref().unwrap_or_default())
        == ["x86_64", "linux", "gnu"]
    {
        println!("cargo::rustc-cfg=direct_throw");
    }
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let path = Path::new(&manifest).join("../../Cargo.lock");
    println!("cargo::rerun-if-changed={}", path.display());
    let lock =
        fs::read_to_string(&path).expect("Cargo.lock lies beside the workspace's Cargo.toml");
    // Two versions of wasmer's crates do not go together.
    let wasmer = versions(&lock, "wasmer");
    assert_eq!(wasmer.len(), 1, "{wasmer:?} in Cargo.lock");
    for (variable, versions) in [
        ("WASMER_VERSION", wasmer),
        ("CRANELIFT_VERSION", versions(&lock, "cranelift-")),
        ("REGALLOC_VERSION", versions(&lock, "regalloc2")),
    ] {
        println!("cargo::rustc-env={variable}={}", versions.join(", "));
    }
}

/// The versions of the packages whose names begin so: one if it is that of all, else each with its name.
fn versions(lock: &str, prefix: &str) -> Vec<String> {
    let mut named: Vec<(&str, &str)> = Vec::new();
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = quoted(line, "name = ").filter(|name| name.starts_with(prefix)) {
            let version = lines.next().and_then(|line| quoted(line, "version = "));
            named.push((name, version.expect("a package's version follows its name")));
        }
    }
    let (_, first) = named.first().expect("the package is locked");
    if named.iter().all(|(_, version)| version == first) {
        return vec![(*first).to_owned()];
    }
    named
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect()
}

fn quoted<'line>(line: &'line str, key: &str) -> Option<&'line str> {
    line.strip_prefix(key)?.strip_prefix('"')?.strip_suffix('"')
}
