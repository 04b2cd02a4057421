//! One encoding, one digest, and every breach refused with the resource's name.

mod auth;
mod definitions;
mod delta;
mod domains;
mod hostile;
mod issuer;
mod members;
mod round_trip;
mod sample;
