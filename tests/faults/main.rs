//! What happens when something dies: real processes of the built binary, killed, stopped and replaced under load. Short
//! here; `make test-kill` and `make test-outage` run the same for longer.

mod accounts;
mod balancer;
mod kills;
mod load;
mod outages;
mod recovery;
mod rolling;
mod unsaved;

/// A number that a longer run sets in the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}
