//! What must hold of the source tree itself: file sizes, who imports whom, where SQL and clocks may appear.

mod imports;
mod pages;
mod sizes;
mod tree;
