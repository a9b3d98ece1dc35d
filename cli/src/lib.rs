//! The `wicketgate` command as a library: what it does to documents, without the process around it.

pub mod render;
