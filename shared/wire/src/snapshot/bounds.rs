//! How much a snapshot may hold. A breach is a refused change or a Nack, never a crash.

/// Bytes of one tenant's snapshot.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Resources of one tenant.
pub const MAX_RESOURCES: usize = 100_000;
/// Endpoints of one tenant.
pub const MAX_ENDPOINTS: usize = 1_000;
/// Domains of one tenant.
pub const MAX_DOMAINS: usize = 1_000;
/// Bytes in a domain's name: what is put before it to prove it has to fit too (RFC 1035 section 2.3.4).
pub const MAX_DOMAIN_NAME: usize = 241;
/// Certificates in a domain's chain.
pub const MAX_CHAIN: usize = 10;
/// Bytes of all of them: whoever asks for the domain is sent them, before anything is known of him.
pub const MAX_CHAIN_BYTES: usize = 32 * 1024;
/// Keys of an issuer: as many as its tenant may have published, and some that end.
pub const MAX_ISSUER_KEYS: usize = 64;
/// Keys that sign assertions: one that signs, one that follows, and what was made at once before them.
pub const MAX_ASSERTION_KEYS: usize = 16;
/// Bytes in a public key: one of RSA with 4096 bits, and its exponent.
pub const MAX_PUBLIC_KEY: usize = 1_024;
/// Lists of revoked certificates of one client authority.
pub const MAX_CRLS: usize = 8;
/// Bytes of all of them.
pub const MAX_CRL_BYTES: usize = 512 * 1024;
/// External issuers that an endpoint may name, and client authorities.
pub const MAX_EXTERNAL_ISSUERS: usize = 16;
/// Bytes of a claim's name, and of a text that it has to have.
pub const MAX_CLAIM_TEXT: usize = 1_024;
/// Rules of one kind of an external issuer.
pub const MAX_CLAIM_RULES: usize = 1_000;
/// Audiences, required claims, and claims, roles or scopes of one rule.
pub const MAX_FEW: usize = 16;
/// Seconds by which an external issuer's clock may be ahead.
pub const MAX_LEEWAY_SECONDS: u32 = 300;
/// Seconds that its tokens may live.
pub const MAX_TOKEN_LIFE_SECONDS: u32 = 86_400;
/// Upstreams of one tenant.
pub const MAX_UPSTREAMS: usize = 1_000;
/// Tools of one tenant.
pub const MAX_TOOLS: usize = 10_000;
/// Private destinations of one tenant.
pub const MAX_EGRESS: usize = 256;
/// Seconds for which a tenant may have unconfirmed configuration enforced, at least: a control plane is restarted in less.
pub const MIN_STALE_SECONDS: u32 = 60;
/// And at most.
pub const MAX_STALE_SECONDS: u32 = 7 * 24 * 3600;
/// Entries in each list of an endpoint: hosts, origins, networks, methods, upstreams.
pub const MAX_ENDPOINT_LIST: usize = 1_024;
/// Bytes in a host, origin or method.
pub const MAX_ENDPOINT_TEXT: usize = 512;
/// Networks that a key is accepted from.
pub const MAX_KEY_NETWORKS: usize = 64;
/// Times at which it is.
pub const MAX_KEY_HOURS: usize = 32;
/// Minutes from one midnight of UTC to the next.
pub const MINUTES_OF_A_DAY: u32 = 24 * 60;
/// Bytes in a network's CIDR text.
pub const MAX_NETWORK_TEXT: usize = 49;
/// Bytes an endpoint may take or give in one message.
pub const MAX_MESSAGE_BYTES: u32 = 64 * 1024 * 1024;
/// Bytes in a name: of a tool, a client.
pub const MAX_NAME: usize = 256;
/// Bytes in an attachment's prefix.
pub const MAX_PREFIX: usize = 64;
/// Bytes in a URL: an upstream's, an issuer's.
pub const MAX_URL: usize = 2_048;
/// Milliseconds of any time-out: one day.
pub const MAX_TIMEOUT_MS: u32 = 86_400_000;
/// Failures in a row that open a breaker, at most.
pub const MAX_BREAKER_FAILURES: u32 = 1_000;
/// Milliseconds for which a breaker stays open, at first.
pub const MAX_BREAKER_OPEN_MS: u32 = 600_000;
/// Calls that a server is given at once, where that is bounded.
pub const MAX_UPSTREAM_CONCURRENCY: u32 = 100_000;
/// Calls that wait for a server.
pub const MAX_UPSTREAM_QUEUE: u32 = 10_000;
/// Milliseconds that one of them waits.
pub const MAX_UPSTREAM_WAIT_MS: u32 = 60_000;
/// Header credentials of one upstream.
pub const MAX_HEADERS: usize = 32;
/// Bytes in a sealed header, or a sealed key.
pub const MAX_SEALED: usize = 16 * 1024;
/// Pinned keys of one upstream.
pub const MAX_PINS: usize = 8;
/// Certificates of one upstream.
pub const MAX_CERTIFICATES: usize = 32;
/// Bytes in one certificate.
pub const MAX_CERTIFICATE: usize = 16 * 1024;
/// Endpoints or roles of one client, or roles of one member.
pub const MAX_RELATIONS: usize = 1_024;
/// Bytes in a tool's definition.
pub const MAX_DEFINITION: usize = 256 * 1024;
/// Labels of one tool.
pub const MAX_LABELS: usize = 32;
/// Bytes in a label.
pub const MAX_LABEL: usize = 64;
/// Units a call may cost, and units a minute or a burst may have.
pub const MAX_UNITS: u32 = 10_000_000;
/// Units a day or a month may have.
pub const MAX_BUDGET: u32 = 1_000_000_000;
/// Calls in flight.
pub const MAX_CONCURRENCY: u32 = 1_000_000;
/// Bytes in a policy's text.
pub const MAX_POLICY_TEXT: usize = 128 * 1024;
