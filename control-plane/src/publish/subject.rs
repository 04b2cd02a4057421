//! What a limit counts, as the API says it and as it is stored.

use ids::{ClientId, EndpointId, Id, KeyId, MemberId, ToolId, Uuid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::v1;

/// What a limit counts: `"tenant"`, `"every_client"`, `"every_member"`, or one of them: `{"client": "cl_…"}`, `{"tool": "tool_…"}`,
/// `{"endpoint": "ep_…"}`, `{"member": "mem_…"}`, `{"key": "key_…"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitSubject {
    /// All calls of the tenant.
    Tenant,
    /// Calls of each client that has no limit of its own.
    EveryClient,
    /// Calls for each member that has no limit of its own, through whatever client.
    EveryMember,
    /// Calls of one client.
    #[schema(value_type = String)]
    Client(ClientId),
    /// Calls of one tool, by whomever.
    #[schema(value_type = String)]
    Tool(ToolId),
    /// Calls at one endpoint, by whomever.
    #[schema(value_type = String)]
    Endpoint(EndpointId),
    /// Calls for one member, through whatever client.
    #[schema(value_type = String)]
    Member(MemberId),
    /// Calls with one API key.
    #[schema(value_type = String)]
    Key(KeyId),
}

impl LimitSubject {
    /// From the column `subject`, and the id of it where it is one.
    #[must_use]
    pub fn stored(kind: &str, id: Option<Uuid>) -> Option<Self> {
        Some(match (kind, id) {
            ("tenant", None) => Self::Tenant,
            ("every_client", None) => Self::EveryClient,
            ("every_member", None) => Self::EveryMember,
            ("client", Some(id)) => Self::Client(Id::from_uuid(id)),
            ("tool", Some(id)) => Self::Tool(Id::from_uuid(id)),
            ("endpoint", Some(id)) => Self::Endpoint(Id::from_uuid(id)),
            ("member", Some(id)) => Self::Member(Id::from_uuid(id)),
            ("key", Some(id)) => Self::Key(Id::from_uuid(id)),
            _ => return None,
        })
    }

    /// As [`Self::stored`] reads it.
    #[must_use]
    pub const fn parts(self) -> (&'static str, Option<Uuid>) {
        match self {
            Self::Tenant => ("tenant", None),
            Self::EveryClient => ("every_client", None),
            Self::EveryMember => ("every_member", None),
            Self::Client(id) => ("client", Some(id.uuid())),
            Self::Tool(id) => ("tool", Some(id.uuid())),
            Self::Endpoint(id) => ("endpoint", Some(id.uuid())),
            Self::Member(id) => ("member", Some(id.uuid())),
            Self::Key(id) => ("key", Some(id.uuid())),
        }
    }

    /// The id of what it is, as text.
    #[must_use]
    pub fn name(self) -> Option<String> {
        Some(match self {
            Self::Tenant | Self::EveryClient | Self::EveryMember => return None,
            Self::Client(id) => id.to_string(),
            Self::Tool(id) => id.to_string(),
            Self::Endpoint(id) => id.to_string(),
            Self::Member(id) => id.to_string(),
            Self::Key(id) => id.to_string(),
        })
    }

    /// As proxies read it; without an id, every one of its kind.
    #[must_use]
    pub const fn wire(self) -> v1::LimitSubject {
        match self {
            Self::Tenant => v1::LimitSubject::Tenant,
            Self::EveryClient | Self::Client(_) => v1::LimitSubject::Client,
            Self::EveryMember | Self::Member(_) => v1::LimitSubject::Member,
            Self::Tool(_) => v1::LimitSubject::Tool,
            Self::Endpoint(_) => v1::LimitSubject::Endpoint,
            Self::Key(_) => v1::LimitSubject::Key,
        }
    }

    /// Where in a limit's JSON the subject's id is, and what to say when the tenant has no such thing.
    #[must_use]
    pub const fn unknown(self) -> (&'static str, &'static str) {
        match self {
            Self::Tenant | Self::EveryClient | Self::EveryMember => ("/subject", "no such subject"),
            Self::Client(_) => ("/subject/client", "no such client"),
            Self::Tool(_) => ("/subject/tool", "no such tool"),
            Self::Endpoint(_) => ("/subject/endpoint", "no such endpoint"),
            Self::Member(_) => ("/subject/member", "no such member"),
            Self::Key(_) => ("/subject/key", "no such key, or it was revoked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subject_has_one_form_and_is_stored_as_it_is_read() {
        let client = ClientId::from_parts(1, [1; 10]);
        let tool = ToolId::from_parts(1, [2; 10]);
        let endpoint = EndpointId::from_parts(1, [3; 10]);
        let member = MemberId::from_parts(1, [4; 10]);
        let key = KeyId::from_parts(1, [5; 10]);
        for (subject, form) in [
            (LimitSubject::Tenant, json!("tenant")),
            (LimitSubject::EveryClient, json!("every_client")),
            (LimitSubject::EveryMember, json!("every_member")),
            (LimitSubject::Client(client), json!({ "client": client })),
            (LimitSubject::Tool(tool), json!({ "tool": tool })),
            (LimitSubject::Endpoint(endpoint), json!({ "endpoint": endpoint })),
            (LimitSubject::Member(member), json!({ "member": member })),
            (LimitSubject::Key(key), json!({ "key": key })),
        ] {
            assert_eq!(serde_json::to_value(subject).unwrap(), form);
            assert_eq!(serde_json::from_value::<LimitSubject>(form).unwrap(), subject);
            let (kind, id) = subject.parts();
            assert_eq!(LimitSubject::stored(kind, id), Some(subject));
        }
        for wrong in [
            json!("client"),
            json!("key"),
            json!({ "client": tool }),
            json!({}),
            json!({"client": client, "tool": tool}),
        ] {
            assert!(serde_json::from_value::<LimitSubject>(wrong).is_err());
        }
    }
}
