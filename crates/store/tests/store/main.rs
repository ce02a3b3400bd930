//! The store from outside: its writer stopped at every system call, and its files damaged.

mod corruption;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod crash_points;
