//! Every error the product can show: slug, JSON-RPC number, HTTP status, whose fault, whether to retry, how loud.
//!
//! A row is append-only: slugs and numbers never change meaning. Each has a page, `codes/<slug>.md`, and a test that
//! provokes it (tests/coverage).

use std::fmt;

use serde::{Serialize, Serializer};

/// Who has to act for the error to go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribution {
    /// The agent, or the program calling the admin API.
    Caller,
    /// The tenant's administrators.
    TenantConfig,
    /// The MCP server behind the endpoint.
    Upstream,
    /// Us.
    Platform,
}

/// At which level the one log line of an error is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Expected in normal traffic.
    Debug,
    /// Worth seeing.
    Info,
    /// Someone should look.
    Warn,
    /// Someone must look.
    Error,
}

/// A catalogue row.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The code itself.
    pub code: ErrorCode,
    /// Stable text, `[a-z_]+`; also the page's file name.
    pub slug: &'static str,
    /// `error.code` of a JSON-RPC refusal: positive, so outside the range the specification reserves.
    pub number: i64,
    /// HTTP status of a problem document.
    pub status: u16,
    /// RFC 9457 `title`; also `error.message` of a JSON-RPC refusal.
    pub title: &'static str,
    /// What the caller should do next.
    pub remedy: &'static str,
    /// Whose fault.
    pub attribution: Attribution,
    /// Whether the same request may succeed later without a change.
    pub retryable: bool,
    /// Log level.
    pub level: Level,
}

macro_rules! catalogue {
    ($($name:ident $slug:literal $number:literal $status:literal $attribution:ident $retryable:ident $level:ident
        $title:literal $remedy:literal;)*) => {
        /// A stable error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode {
            $(#[doc = $title] $name,)*
        }

        /// All rows, in order of number.
        pub const CATALOGUE: &[Entry] = &[
            $(Entry {
                code: ErrorCode::$name, slug: $slug, number: $number, status: $status, title: $title,
                remedy: $remedy, attribution: Attribution::$attribution, retryable: $retryable,
                level: Level::$level,
            },)*
        ];

        /// The pages, in the order of [`CATALOGUE`]. A row without its page does not compile.
        const PAGES: &[&str] = &[$(include_str!(concat!("../codes/", $slug, ".md")),)*];
    };
}

catalogue! {
    // Reaching an endpoint.
    EndpointNotFound "endpoint_not_found" 1001 404 Caller false Debug
        "No such endpoint" "Check the endpoint URL with your administrator.";
    HostRefused "host_refused" 1002 403 Caller false Debug
        "Host header not accepted" "Call the endpoint by the URL that was given to you.";
    OriginRefused "origin_refused" 1003 403 TenantConfig false Debug
        "Origin not accepted" "Ask an administrator to add this origin to the endpoint.";
    AddressRefused "address_refused" 1004 403 TenantConfig false Debug
        "Address not accepted" "Ask an administrator to add this network to the endpoint's allow list.";
    MethodNotAllowed "method_not_allowed" 1005 405 Caller false Debug
        "HTTP method not allowed" "Use POST for requests; see `Allow`.";
    RequestTooLarge "request_too_large" 1006 413 Caller false Debug
        "Request body too large" "Send less than the endpoint's request limit.";
    HeadersTooLarge "headers_too_large" 1007 431 Caller false Debug
        "Request headers too large" "Send fewer or shorter headers.";
    ContentEncodingRefused "content_encoding_refused" 1008 415 Caller false Debug
        "Compressed request bodies are not accepted" "Send the body without Content-Encoding.";
    ContentTypeRefused "content_type_refused" 1009 415 Caller false Debug
        "Content type not accepted" "Send application/json.";
    NotAcceptable "not_acceptable" 1010 406 Caller false Debug
        "Accept header cannot be met" "Accept both application/json and text/event-stream.";
    RequestTimeout "request_timeout" 1011 408 Caller true Debug
        "Request was not sent in time" "Send the whole request without pauses.";
    TlsRequired "tls_required" 1012 403 Caller false Warn "Plain HTTP is refused" "Use https.";
    Draining "draining" 1013 503 Platform true Info
        "This proxy is shutting down" "Retry; another proxy will answer.";
    NotReady "not_ready" 1014 503 Platform true Warn "This proxy has no configuration yet" "Retry shortly.";
    QueryTokenRefused "query_token_refused" 1015 400 Caller false Debug
        "Credentials in the query string are refused" "Send the key in the Authorization header, and rotate it.";
    Killed "killed" 1016 503 Platform true Warn
        "Stopped by the kill switch" "Ask an administrator why; retry when the kill has been lifted.";
    ConfigStale "config_stale" 1017 503 Platform true Error
        "Configuration is too old to be enforced" "Retry later; tell your operator.";
    CertificateUnusable "certificate_unusable" 1018 500 Platform false Error
        "A listener's certificate cannot be used" "Give a chain with its own key, both PEM, that names its hosts.";
    ClientAddressUnknown "client_address_unknown" 1019 400 Platform false Warn
        "The load balancer does not say whose the request is" "Tell your operator.";

    // Who is calling.
    CredentialMissing "credential_missing" 1101 401 Caller false Debug
        "No credential presented" "Send `Authorization: Bearer <key or access token>`.";
    CredentialInvalid "credential_invalid" 1102 401 Caller false Debug
        "Credential not accepted" "Use a current key, or a token for this endpoint.";
    CredentialMalformed "credential_malformed" 1103 400 Caller false Debug
        "Authorization header malformed" "Send exactly one `Authorization: Bearer <key or access token>`.";
    ClientNotAllowed "client_not_allowed" 1104 403 TenantConfig false Debug
        "This client may not use this endpoint" "Ask an administrator to add the client to the endpoint.";
    ScopeInsufficient "scope_insufficient" 1105 403 Caller false Debug
        "Token lacks a scope for this" "Get a token with the scopes that `WWW-Authenticate` names.";
    ProofInvalid "proof_invalid" 1106 401 Caller false Debug
        "Proof of possession not accepted" "Send one new `DPoP` proof for this request, signed with the key that the token names.";
    ProofNonceRequired "proof_nonce_required" 1107 401 Caller true Debug
        "Proof of possession needs a nonce" "Repeat the request with a proof that has the nonce of `DPoP-Nonce`.";
    IssuerKeysUnavailable "issuer_keys_unavailable" 1108 503 Upstream true Warn
        "The token's issuer cannot be asked for its keys" "Retry later; tell the administrator if it goes on.";
    CallerNotMapped "caller_not_mapped" 1109 403 TenantConfig false Info
        "Nobody here is known by this token or certificate" "Ask an administrator to map its claims or names to a client.";
    CredentialRestricted "credential_restricted" 1120 403 TenantConfig false Info
        "The key is not accepted from here, or not now" "Call from a network and at a time that the key allows.";

    // Speaking MCP.
    ParseError "parse_error" 1201 400 Caller false Debug
        "Body is not valid JSON-RPC" "Send one JSON-RPC 2.0 message without duplicate keys.";
    ProtocolVersionUnsupported "protocol_version_unsupported" 1202 400 Caller false Debug
        "MCP revision not supported" "Use 2025-06-18, 2025-11-25 or 2026-07-28.";
    HeaderMismatch "header_mismatch" 1203 400 Caller false Debug
        "MCP headers do not match the body" "Send headers that equal the values in the body.";
    MethodUnknown "method_unknown" 1204 404 Caller false Debug
        "Unknown JSON-RPC method" "Use a method of the negotiated MCP revision.";
    MethodClosed "method_closed" 1205 403 TenantConfig false Debug
        "Method is switched off for this endpoint" "Ask an administrator to allow the method.";
    InvalidParams "invalid_params" 1206 400 Caller false Debug
        "Request parameters are not valid" "Check the parameters against the MCP revision.";
    BatchUnsupported "batch_unsupported" 1207 400 Caller false Debug
        "JSON-RPC batches are not supported by this revision" "Send one message a request.";
    SessionRequired "session_required" 1208 400 Caller false Debug
        "Mcp-Session-Id missing" "Send the session id that `initialize` returned.";
    SessionNotFound "session_not_found" 1209 404 Caller false Debug
        "No such session" "Start a new session with `initialize`.";
    StateInvalid "state_invalid" 1210 400 Caller false Debug
        "Cursor, task id or state not valid here" "Use the value exactly as this endpoint returned it.";
    ClientCapabilityMissing "client_capability_missing" 1211 400 Caller false Info
        "A client capability was not declared" "Declare what `requiredCapabilities` names in the request's `_meta`.";

    // Limits.
    RateLimited "rate_limited" 1301 429 Caller true Debug
        "Rate limit reached" "Wait for `retry_after_ms`, or ask for a higher limit.";
    ConcurrencyLimited "concurrency_limited" 1302 429 Caller true Debug
        "Too many calls in flight" "Wait for running calls to end.";
    AddressLimited "address_limited" 1303 429 Caller true Debug
        "Too many requests from this address" "Wait for `Retry-After`.";
    BudgetExhausted "budget_exhausted" 1304 429 Caller true Info
        "Budget of calls used up" "Wait until the day or month ends (UTC), or ask for a larger budget.";

    // What may be done.
    ToolNotGranted "tool_not_granted" 1401 403 TenantConfig false Debug
        "Tool not granted" "Ask an administrator for a grant that names this tool.";
    ToolNotApproved "tool_not_approved" 1402 403 TenantConfig false Debug
        "Tool is not approved" "Ask an administrator to review and approve the tool.";
    ToolQuarantined "tool_quarantined" 1403 403 TenantConfig false Warn
        "Tool definition changed and is quarantined" "Ask an administrator to review the changed definition.";
    PromptNotGranted "prompt_not_granted" 1404 403 TenantConfig false Debug
        "Prompt not granted" "Ask an administrator for a grant that names this prompt.";
    ResourceNotGranted "resource_not_granted" 1405 403 TenantConfig false Debug
        "Resource not granted" "Ask an administrator for a grant that covers this URI.";
    ActionNotGranted "action_not_granted" 1406 403 TenantConfig false Debug
        "Action not granted" "Ask an administrator for a grant of this action.";
    PolicyError "policy_error" 1407 403 TenantConfig false Error
        "A policy could not be evaluated" "Ask an administrator to look at the policy named in the audit log.";

    // The server behind.
    UpstreamUnreachable "upstream_unreachable" 1501 502 Upstream true Warn
        "MCP server cannot be reached" "Retry later; tell the server's owner.";
    UpstreamTimeout "upstream_timeout" 1502 504 Upstream true Warn
        "MCP server did not answer in time" "Retry later, or ask for a longer time-out.";
    UpstreamAddressRefused "upstream_address_refused" 1503 502 TenantConfig false Warn
        "MCP server's address is not allowed" "Ask an operator to allow the address, or use a public one.";
    UpstreamTlsFailed "upstream_tls_failed" 1504 502 Upstream false Warn
        "TLS to the MCP server failed" "Check the server's certificate and the upstream's TLS options.";
    UpstreamProtocol "upstream_protocol" 1505 502 Upstream false Warn
        "MCP server's answer is not valid" "Tell the server's owner.";
    ResponseTooLarge "response_too_large" 1506 502 Upstream false Info
        "MCP server's answer is too large" "Ask for less, or ask an administrator for a higher limit.";
    UpstreamCredentialUnavailable "upstream_credential_unavailable" 1507 502 TenantConfig false Warn
        "Credential for the MCP server cannot be opened" "Ask an administrator to set the credential again.";
    NoUpstream "no_upstream" 1508 502 TenantConfig false Info
        "Endpoint has no MCP server attached" "Ask an administrator to attach an upstream.";
    UpstreamUnauthorized "upstream_unauthorized" 1509 502 TenantConfig false Warn
        "MCP server refused the gateway's credential" "Ask an administrator to check the upstream's credential.";
    UpstreamCircuitOpen "upstream_circuit_open" 1510 503 Upstream true Info
        "MCP server is left alone after failures" "Wait for `retry_after_ms`; tell the server's owner.";
    UpstreamCrowded "upstream_crowded" 1511 503 Upstream true Info
        "MCP server has too many calls" "Wait for `retry_after_ms` and repeat; nothing was sent.";
    UpstreamPinMismatch "upstream_pin_mismatch" 1512 502 TenantConfig false Error
        "MCP server's key is not one that was pinned" "Compare the server's key with the upstream's pins; do not remove them before you know.";

    // Our own faults.
    AuditUnavailable "audit_unavailable" 1601 503 Platform true Error
        "The call cannot be recorded" "Retry; nothing was forwarded.";
    Internal "internal" 1602 500 Platform true Error
        "Internal error" "Retry; if it persists, give support the request id.";

    // Names and certificates of a tenant's own.
    DomainUnproven "domain_unproven" 1610 409 TenantConfig true Debug
        "DNS does not prove the domain" "Put the domain's `record` into its DNS, wait until it is there, and try again.";
    DomainTaken "domain_taken" 1611 409 TenantConfig false Info
        "Another tenant has proven this domain" "Delete it there first, or ask an operator to.";
    DnsUnavailable "dns_unavailable" 1612 503 Platform true Warn
        "DNS did not answer" "Retry; nothing was decided.";

    // The admin API.
    NotFound "not_found" 2001 404 Caller false Debug
        "No such resource" "Check the id and the tenant.";
    Unauthenticated "unauthenticated" 2002 401 Caller false Info
        "No valid admin credential" "Send `Authorization: Bearer <admin token>`.";
    Forbidden "forbidden" 2003 403 Caller false Info
        "Token lacks the scope for this" "Use a token with the scope named in `detail`.";
    ValidationFailed "validation_failed" 2004 422 Caller false Debug
        "Request is not valid" "Correct the places listed in `errors`.";
    Conflict "conflict" 2005 409 Caller false Debug
        "Conflicts with what exists" "Choose another value, or change what is there.";
    PreconditionFailed "precondition_failed" 2006 412 Caller false Debug
        "The resource changed in the meantime" "Read it again and repeat the change.";
    BadRequest "bad_request" 2007 400 Caller false Debug
        "Request malformed" "See `detail`.";
    CursorInvalid "cursor_invalid" 2008 400 Caller false Debug
        "Cursor not valid" "Start again without a cursor.";
    ConfigRejected "config_rejected" 2009 422 TenantConfig false Info
        "The change does not compile" "Correct the places listed in `errors`.";
    StoreUnavailable "store_unavailable" 2010 503 Platform true Error
        "Storage is not available" "Retry shortly.";
    CountersUnavailable "counters_unavailable" 2011 503 Platform true Warn
        "Counters cannot be read" "Retry shortly; calls are limited by share meanwhile.";
    PreconditionRequired "precondition_required" 2030 428 Caller false Debug
        "If-Match is missing" "Read the resource and send its `ETag` as `If-Match`.";
    IdempotencyKeyReused "idempotency_key_reused" 2031 422 Caller false Info
        "Idempotency key belongs to another request" "Send a new key with a new request.";
    IdempotencyInProgress "idempotency_in_progress" 2032 409 Caller true Debug
        "The first request with this key is running" "Wait for `Retry-After`, then send it again.";
    ApiRateLimited "api_rate_limited" 2033 429 Caller true Debug
        "Too many requests to the admin API" "Wait for `Retry-After`; see `RateLimit`.";
    WatchesLimited "watches_limited" 2034 429 Caller true Info
        "Too many watches" "End a watch of this tenant, or wait for one to end.";
    LastOwner "last_owner" 2040 409 Caller false Info
        "The tenant would have no owner" "Make another member an owner first.";
    SignInTooOld "sign_in_too_old" 2041 403 Caller false Info
        "Signed in too long ago for this" "Sign in again, by `/session/sign-in?tenant={slug}&prompt=login`, and repeat it within ten minutes.";
    CrossSiteRefused "cross_site_refused" 2042 403 Caller false Info
        "Not sent by a page of this origin" "Send it from a page of the API's origin, with `Portcullis-CSRF` as `GET /v1/session` says it.";

    // Tenants' authorization servers.
    OauthRequestInvalid "oauth_request_invalid" 2101 400 Caller false Debug
        "Request cannot be read" "Send each parameter once, form-encoded, in the body; authenticate in one way.";
    OauthClientInvalid "oauth_client_invalid" 2102 401 Caller false Info
        "Client is not authenticated" "Send the client's id with a current secret, or a fresh assertion.";
    OauthGrantUnsupported "oauth_grant_unsupported" 2103 400 Caller false Debug
        "Grant type not supported" "Use one of `grant_types_supported` in the issuer's metadata.";
    OauthScopeInvalid "oauth_scope_invalid" 2104 400 Caller false Debug
        "Scope not valid" "Ask for the scopes that the endpoint's challenge names, or for none.";
    OauthTargetInvalid "oauth_target_invalid" 2105 400 TenantConfig false Debug
        "Resource is not one the client may use" "Name one endpoint of the client with `resource`, spelt as its metadata has it.";
    OauthClientUnauthorized "oauth_client_unauthorized" 2106 400 Caller false Info
        "The client may not do this" "Let the client do it to which the token was given.";
    TokenRequestsLimited "token_requests_limited" 2107 429 Caller true Info
        "Too many requests to the token endpoint" "Wait for `Retry-After`; keep a token until it expires.";
    OauthProofInvalid "oauth_proof_invalid" 2108 400 Caller false Debug
        "Proof of possession not accepted" "Send one new `DPoP` proof for this request.";
    OauthProofNonceRequired "oauth_proof_nonce_required" 2109 400 Caller true Debug
        "Proof of possession needs a nonce" "Repeat the request with a proof that has the nonce of `DPoP-Nonce`.";

    // People at the authorization servers' origin.
    SignInRefused "sign_in_refused" 2120 401 Caller false Info
        "E-mail address or password is not right" "Check both, and try again.";
    SignInLimited "sign_in_limited" 2121 429 Caller true Info
        "Too many attempts" "Wait a moment, then try again.";
    FormRefused "form_refused" 2122 403 Caller false Info
        "This was not sent by a page shown here lately" "Go back, load the page again, and repeat what you did.";
    InvitationInvalid "invitation_invalid" 2123 404 Caller false Info
        "The invitation is not good any more" "Ask whoever invited you for another.";
    AuthorizationRefused "authorization_refused" 2124 400 Caller false Info
        "The application cannot be let in" "Start again in the application; if it stays so, tell who makes it.";
    AccessDenied "access_denied" 2125 403 Caller false Info
        "Access was not given" "Ask an administrator of the tenant to make you a member, or agree when you are asked.";
    OauthGrantInvalid "oauth_grant_invalid" 2126 400 Caller false Info
        "Code or refresh token is not good" "Send the person to the authorization endpoint again.";
    AuthorizationNeedsPerson "authorization_needs_person" 2127 400 Caller false Debug
        "A person has to sign in or agree" "Ask again without `prompt=none`.";
    OauthResponseTypeUnsupported "oauth_response_type_unsupported" 2128 400 Caller false Debug
        "Response type not supported" "Send `response_type=code`.";
    OauthRedirectUriInvalid "oauth_redirect_uri_invalid" 2140 400 Caller false Debug
        "Redirect URI not accepted" "Register `https` URIs, `http` ones on the user's own machine, or a scheme with a period.";
    OauthClientMetadataInvalid "oauth_client_metadata_invalid" 2141 400 Caller false Debug
        "Client metadata not accepted" "Correct what the description names, and send it again.";
    OauthRegistrationTokenInvalid "oauth_registration_token_invalid" 2142 401 Caller false Info
        "Token not good for this registration" "Send the client's own registration token, or an initial access token that can still be used.";
    OauthRegistrationClosed "oauth_registration_closed" 2143 403 TenantConfig false Info
        "Clients may not register themselves" "Ask an administrator of the tenant for a client.";
    OauthClientDocumentInvalid "oauth_client_document_invalid" 2144 400 Caller false Info
        "The client's document is not accepted" "Correct the document at the client's id, and try again in a minute.";
    OauthAssertionInvalid "oauth_assertion_invalid" 2145 400 Caller false Info
        "Assertion or subject token not accepted" "Get a fresh one for this issuer, from an issuer that the tenant trusts for this.";
    OauthKeysUnavailable "oauth_keys_unavailable" 2146 503 Upstream true Warn
        "Keys of a trusted issuer cannot be fetched" "Try again shortly; see that the issuer's `jwks_uri` answers.";
    OauthAuthorizationPending "oauth_authorization_pending" 2147 400 Caller true Debug
        "Nobody has decided about the device yet" "Ask again after `interval` seconds.";
    OauthSlowDown "oauth_slow_down" 2148 400 Caller true Debug
        "The device asks too often" "Wait five seconds longer between two questions from now on.";
    OauthDeviceCodeExpired "oauth_device_code_expired" 2149 400 Caller false Debug
        "There is no such code, or it has ended" "Let the device show a new one, and compare letter by letter.";
    OauthDeviceDenied "oauth_device_denied" 2150 400 Caller false Info
        "The device may not act for anybody" "Begin again if it was refused by mistake.";
    CompanySignInRefused "company_sign_in_refused" 2160 403 Caller false Info
        "Your organisation's sign-in does not let you in" "Begin again at the page that you came from; if it stays so, ask an administrator of your organisation.";

    // Between the planes.
    SnapshotUndecodable "snapshot_undecodable" 3001 400 Platform false Error
        "Snapshot cannot be decoded exactly" "Upgrade the proxy, or look at the named resource.";
    SnapshotInvalid "snapshot_invalid" 3002 400 Platform false Error
        "Snapshot breaks a bound or a reference" "Look at the named resource.";
    SnapshotDigestMismatch "snapshot_digest_mismatch" 3003 400 Platform true Error
        "Snapshot's digest does not match" "The scope is sent again.";
    ApplyPanicked "apply_panicked" 3004 500 Platform false Error
        "Applying the snapshot failed unexpectedly" "Report the proxy's log to support.";
    JoinTokenRefused "join_token_refused" 3005 401 Caller false Warn
        "Join token not accepted" "Ask an operator for a new join token.";
    SchemaUnsupported "schema_unsupported" 3006 400 Platform false Error
        "No snapshot schema in common" "Upgrade the older of proxy and control plane.";
    KillOrderRefused "kill_order_refused" 3007 403 Caller false Warn
        "Kill order not accepted" "Sign a new order with the key whose public half the proxy was given.";
    ProxyRevoked "proxy_revoked" 3008 403 Platform false Error
        "This proxy was put out of the fleet" "Give it a new join token if it is to come back.";
}

impl ErrorCode {
    /// The code's row.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        &CATALOGUE[self as usize]
    }

    /// The stable text.
    #[must_use]
    pub fn slug(self) -> &'static str {
        self.entry().slug
    }

    /// The code's page, as Markdown: what happened, who acts, what to do, an example.
    #[must_use]
    pub fn page(self) -> &'static str {
        PAGES[self as usize]
    }

    /// The code with this slug, if there is one.
    #[must_use]
    pub fn from_slug(slug: &str) -> Option<Self> {
        CATALOGUE.iter().find(|entry| entry.slug == slug).map(|entry| entry.code)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

/// As its slug.
impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.slug())
    }
}

/// The page of `code`, as Markdown.
#[must_use]
pub fn page(code: ErrorCode) -> &'static str {
    code.page()
}
