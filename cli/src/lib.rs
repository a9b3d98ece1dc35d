//! The `wicketgate` command as a library: what it does to documents, without the process around it.

pub mod credentials;
pub mod explain;
pub mod message;
pub mod render;
pub mod secrets;
