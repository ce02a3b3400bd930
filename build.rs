//! Node-API set-up.

use std::env;

fn main() {
    napi_build::setup();

    // Node unloads an addon when the last environment that loaded it ends, but our threads and
    // signal handlers outlive environments.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
