//! The limiting algorithms: pure, on time that is passed in.
//!
//! Rates are kept by GCRA (the "virtual scheduling" form of ITU-T I.371): one number per bucket, the *theoretical arrival
//! time*, in nanoseconds of a clock that does not step back (`seams::Monotonic`). Over any time T a bucket admits at most
//! `burst + rate · T`, whatever the order in which threads arrive.
//!
//! [`gcra`] decides, [`Bucket`] keeps one number, [`reserve`] takes from several buckets or from none, [`Concurrency`]
//! counts what is held here, [`AddressTable`] keeps a bounded number of buckets for addresses nobody configured. [`shared`] is
//! what a store does in which proxies count together, [`budget`] what lasts a day or a month, [`near`] the end of it in one
//! proxy, [`running`] how many calls run at once, and [`adaptive`] how many a server can take.

pub mod adaptive;
pub mod address;
mod bucket;
pub mod budget;
mod concurrency;
pub mod gcra;
pub mod near;
mod reservation;
pub mod running;
pub mod shared;

pub use address::AddressTable;
pub use bucket::Bucket;
pub use concurrency::{Concurrency, Lease};
pub use gcra::{Decision, NEVER, Rate};
pub use reservation::{Refused, Reservation, reserve};

#[cfg(test)]
mod tests;
