//! Time and randomness as arguments: the [`Clock`] and [`Entropy`] seams, the system's own, and their test twins.
//!
//! Everything that decides takes `now` or `&dyn Clock`, and `&dyn Entropy`, so that a test or a simulation can
//! choose both. `system.rs` is the one place in the product that reads the machine's clock or its random source;
//! clippy.toml bans them everywhere else.

mod clock;
mod entropy;
mod system;

pub use clock::{Clock, ManualClock, Monotonic, Timestamp};
pub use entropy::{Entropy, SeededEntropy};
pub use system::{SystemClock, SystemEntropy};

#[cfg(test)]
mod tests;
