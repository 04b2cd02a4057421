//! The one binary `portcullis`, as a library so that the tests start the same private servers as `portcullis up`.

pub mod access;
pub mod demo_server;
pub mod files;
pub mod fleet;
pub mod kill;
pub mod private;
pub mod rest;
pub mod run;
pub mod up;

/// What the last words of a failing command begin with, on its standard error.
pub const COMPLAINT: &str = "portcullis: ";
