//! A migration added to the directory has to be built in.

fn main() {
    println!("cargo::rerun-if-changed=../migrations");
}
