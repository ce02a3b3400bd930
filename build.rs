//! Node-API set-up.

use std::env;

fn main() {
    napi_build::setup();

    // Node unloads an addon when the last environment that loaded it ends, but our threads and
    // signal handlers outlive environments.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
        // Symbols are a fifth of the addon. Frames are walked by the unwind tables, which stay. Not by the profile: that
        // would have all dependencies compiled again for it.
        println!("cargo::rustc-cdylib-link-arg=-Wl,--strip-all");
    }
}
