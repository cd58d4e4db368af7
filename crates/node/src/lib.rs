//! Composition (written below).
pub mod system;
