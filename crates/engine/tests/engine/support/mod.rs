//! Generated signatures, and chains of functions that have them.

pub mod across;
pub mod cache;
pub mod function;
pub mod host;
pub mod inside;
pub mod signature;
pub mod unit;
pub mod upper;
pub mod world;
