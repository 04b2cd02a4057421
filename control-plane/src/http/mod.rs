//! The REST API: `router.rs` lists every route, `middleware.rs` everything a request passes before one.

pub mod admin;
pub mod anybody;
pub mod auth;
pub mod body;
pub mod deprecation;
pub mod ending;
pub mod etag;
pub mod idempotency;
pub mod known;
pub mod middleware;
pub mod openapi;
pub mod page;
pub(crate) mod pages;
pub mod path;
pub mod problem;
mod queries;
pub mod quota;
mod reference;
pub mod router;
pub mod scope;
pub mod serve;
mod sources;
pub mod watch;
pub mod write;

/// What handlers are made of.
pub mod prelude {
    pub use axum::{extract::State, response::Response};
    pub use utoipa::{IntoParams, ToSchema};

    pub use super::{
        auth::{InTenant, InTenantOrGone, Operator, UrgentOperator},
        body::{Json, MergePatch, Query},
        etag::IfMatch,
        openapi::{Problems, TenantPath},
        page::{Page, Paging},
        path::OfPath,
        problem::{ApiError, FieldError},
        scope::*,
        write::{Reply, Wait, Written},
    };
    pub use crate::app::Core;
}
