//! Decisions against an oracle, hostile names, broken policies, and agreement of facts with the schema.

mod admission;
mod dense;
mod errors;
mod oracle;
mod properties;
mod world;
