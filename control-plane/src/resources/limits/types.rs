//! What a limit looks like.

use ids::{ClientId, LimitId, ToolId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use wire::snapshot::{MAX_CONCURRENCY, MAX_UNITS};

use crate::{
    http::problem::{ApiError, FieldError},
    resources::fields::moment,
};

/// A limit.
#[derive(Debug, Serialize, ToSchema)]
pub struct Limit {
    /// Id.
    #[schema(value_type = String, example = "lim_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: LimitId,
    /// What it counts; never changes.
    pub subject: LimitSubject,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: LimitSettings,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What a limit counts: `"tenant"`, `"every_client"`, `{"client": "cl_…"}` or `{"tool": "tool_…"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitSubject {
    /// All calls of the tenant.
    Tenant,
    /// Calls of each client that has no limit of its own.
    EveryClient,
    /// Calls of one client.
    #[schema(value_type = String)]
    Client(ClientId),
    /// Calls of one tool, by whomever.
    #[schema(value_type = String)]
    Tool(ToolId),
}

impl LimitSubject {
    /// Where in a limit's JSON the subject's id is, and what to say when the tenant has no such thing.
    #[must_use]
    pub const fn unknown(self) -> (&'static str, &'static str) {
        match self {
            Self::Tenant | Self::EveryClient => ("/subject", "no such subject"),
            Self::Client(_) => ("/subject/client", "no such client"),
            Self::Tool(_) => ("/subject/tool", "no such tool"),
        }
    }
}

/// What can be changed of a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Units of tool-call cost a minute; 0 refuses everything.
    #[schema(minimum = 0, maximum = 10_000_000, example = 60)]
    pub per_minute: u32,
    /// Units that may be taken at once.
    #[schema(minimum = 1, maximum = 10_000_000, example = 60)]
    pub burst: u32,
    /// Calls in flight at once; 0: as many as there are.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000, example = 32)]
    pub concurrency: u32,
}

/// A limit to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitNew {
    /// What it counts.
    pub subject: LimitSubject,
    /// Units of tool-call cost a minute; 0 refuses everything.
    #[schema(minimum = 0, maximum = 10_000_000, example = 60)]
    pub per_minute: u32,
    /// Units that may be taken at once.
    #[schema(minimum = 1, maximum = 10_000_000, example = 60)]
    pub burst: u32,
    /// Calls in flight at once; 0: as many as there are.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000, example = 32)]
    pub concurrency: u32,
}

impl LimitNew {
    /// Subject and settings.
    #[must_use]
    pub const fn split(self) -> (LimitSubject, LimitSettings) {
        let Self { subject, per_minute, burst, concurrency } = self;
        (subject, LimitSettings { per_minute, burst, concurrency })
    }
}

impl LimitSettings {
    /// Refuses numbers that a proxy would not accept.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with each.
    pub fn check(&self) -> Result<(), ApiError> {
        let bounds = [
            ("/per_minute", self.per_minute, 0, MAX_UNITS),
            ("/burst", self.burst, 1, MAX_UNITS),
            ("/concurrency", self.concurrency, 0, MAX_CONCURRENCY),
        ];
        let wrong = bounds.into_iter().filter(|(_, value, least, most)| !(*least..=*most).contains(value));
        let errors: Vec<_> = wrong
            .map(|(pointer, _, least, most)| FieldError {
                pointer: pointer.to_owned(),
                message: format!("must be from {least} to {most}"),
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subject_has_one_form() {
        let client = ClientId::from_parts(1, [1; 10]);
        let tool = ToolId::from_parts(1, [2; 10]);
        for (subject, form) in [
            (LimitSubject::Tenant, json!("tenant")),
            (LimitSubject::EveryClient, json!("every_client")),
            (LimitSubject::Client(client), json!({ "client": client })),
            (LimitSubject::Tool(tool), json!({ "tool": tool })),
        ] {
            assert_eq!(serde_json::to_value(subject).unwrap(), form);
            assert_eq!(serde_json::from_value::<LimitSubject>(form).unwrap(), subject);
        }
        for wrong in
            [json!("client"), json!({ "client": tool }), json!({}), json!({"client": client, "tool": tool})]
        {
            assert!(serde_json::from_value::<LimitSubject>(wrong).is_err());
        }
    }

    #[test]
    fn numbers_out_of_bounds_are_all_named() {
        let fine = LimitSettings { per_minute: 0, burst: 1, concurrency: 0 };
        assert!(fine.check().is_ok());
        let wrong = LimitSettings { per_minute: MAX_UNITS + 1, burst: 0, concurrency: MAX_CONCURRENCY + 1 };
        let Err(ApiError::Invalid(errors)) = wrong.check() else { panic!("accepted") };
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/per_minute", "/burst", "/concurrency"]);
    }
}
