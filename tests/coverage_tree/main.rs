//! What must hold of the source tree itself: file sizes, who imports whom, where SQL and clocks may appear.

mod sizes;
mod imports;
mod pages;
mod tree;
