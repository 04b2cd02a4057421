//! `portcullis up`, as a person uses it: the real binary in a directory and on ports of its own.

mod crashes;
mod detached;
mod first_call;
mod fleet;
mod given_servers;
mod kill;
mod options;
mod run;
mod stopping;
mod traces;
