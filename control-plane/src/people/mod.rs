//! People: one account over all tenants, how they sign in, and the pages on which they do.

pub(crate) mod account;
pub mod attempts;
pub(crate) mod cookie;
pub mod email;
pub(crate) mod html;
pub(crate) mod invitation;
pub(crate) mod log;
pub(crate) mod page;
mod password;
mod queries;
pub mod session;
pub(crate) mod sign_in;
pub(crate) mod visitor;
