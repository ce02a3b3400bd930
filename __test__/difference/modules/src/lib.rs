//! Modules whose meaning the specification leaves no room in, and what JavaScript has to know of them.

mod closed;
mod description;
mod generate;
#[cfg(feature = "shrink")]
mod shrink;
mod tries;

pub use description::describe;
pub use generate::{Features, Profile, generate};
#[cfg(feature = "shrink")]
pub use shrink::shrink;
