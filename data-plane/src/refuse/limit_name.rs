//! How limits are called where a refusal names one.

/// Whose bucket was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitName {
    /// All calls of the tenant.
    Tenant,
    /// Calls of this client.
    Client,
    /// Calls of this tool.
    Tool,
    /// Calls at this endpoint.
    Endpoint,
    /// Calls for this member.
    Member,
    /// Calls with this API key.
    Key,
    /// Requests that are not tool calls, of the tenant.
    TenantProtocol,
    /// Of this client.
    ClientProtocol,
    /// At this endpoint.
    EndpointProtocol,
    /// For this member.
    MemberProtocol,
    /// With this API key.
    KeyProtocol,
    /// Bytes of request bodies of this client that are held at once.
    ClientBodyBytes,
}

impl LimitName {
    /// The same subject's bucket for requests that are no tool calls.
    pub(crate) const fn protocol(self) -> Self {
        match self {
            Self::Tenant | Self::TenantProtocol => Self::TenantProtocol,
            Self::Endpoint | Self::EndpointProtocol => Self::EndpointProtocol,
            Self::Member | Self::MemberProtocol => Self::MemberProtocol,
            Self::Key | Self::KeyProtocol => Self::KeyProtocol,
            Self::Client | Self::Tool | Self::ClientProtocol | Self::ClientBodyBytes => Self::ClientProtocol,
        }
    }

    /// As told to the caller.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Client => "client",
            Self::Tool => "tool",
            Self::Endpoint => "endpoint",
            Self::Member => "member",
            Self::Key => "key",
            Self::TenantProtocol => "tenant_protocol",
            Self::ClientProtocol => "client_protocol",
            Self::EndpointProtocol => "endpoint_protocol",
            Self::MemberProtocol => "member_protocol",
            Self::KeyProtocol => "key_protocol",
            Self::ClientBodyBytes => "client_body_bytes",
        }
    }
}
