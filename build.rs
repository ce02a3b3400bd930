//! Node-API set-up, and the versions that shape compiled code, read out of the lock file.

use std::{env, fs, path::Path};

fn main() {
    napi_build::setup();

    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let path = Path::new(&manifest).join("Cargo.lock");
    println!("cargo::rerun-if-changed={}", path.display());
    let lock = fs::read_to_string(&path).expect("Cargo.lock lies beside Cargo.toml");
    for (variable, package) in [
        ("WASMER_VERSION", "wasmer-compiler"),
        ("CRANELIFT_VERSION", "cranelift-codegen"),
    ] {
        println!("cargo::rustc-env={variable}={}", locked(&lock, package));
    }

    // Node unloads an addon when the last environment that loaded it ends, but our threads and
    // signal handlers outlive environments.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}

fn locked<'lock>(lock: &'lock str, package: &str) -> &'lock str {
    let heading = format!("name = \"{package}\"\nversion = \"");
    let at = lock.find(&heading).expect("the package is locked") + heading.len();
    let rest = &lock[at..];
    &rest[..rest.find('"').expect("a version ends with a quote")]
}
