//! What is fetched, and what that is bounded by.

use std::time::Duration;

/// What is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A client's description of itself (draft-ietf-oauth-client-id-metadata-document).
    ClientMetadata,
    /// The keys of a client (RFC 7517), at a URL that it named itself.
    ClientKeys,
    /// The keys of an issuer that the tenant's administrator trusts, at a URL that he named.
    IssuerKeys,
    /// What an OpenID provider says of itself that the tenant's administrator has named.
    ProviderMetadata,
    /// What such a provider gives for a code.
    ProviderTokens,
}

/// Who said where a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedBy {
    /// Anybody, and he may serve it himself.
    Stranger,
    /// The tenant's administrator, or whoever he trusts.
    Admin,
}

/// How many fetches there are at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Of all tenants.
    pub(super) all: usize,
    /// Of one.
    pub(super) of_tenant: usize,
    /// From one host, of all tenants.
    pub(super) of_host: usize,
    /// Who waits for the same.
    pub(super) waiting: usize,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Of all tenants.
    pub(super) all: usize,
    /// Of one.
    pub(super) of_tenant: usize,
}

/// How long a document of a kind is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ages {
    pub(super) least: Duration,
    pub(super) default: Duration,
    pub(super) most: Duration,
}

impl NamedBy {
    pub(super) const fn bounds(self) -> Bounds {
        match self {
            // Whoever serves slowly on purpose holds his tenant's and his host's, and needs many of both to hold all.
            Self::Stranger => Bounds { all: 128, of_tenant: 4, of_host: 8, waiting: 64 },
            // Many tenants trust the same issuer.
            Self::Admin => Bounds { all: 128, of_tenant: 8, of_host: 32, waiting: 256 },
        }
    }
}

impl Kind {
    /// All of them, in the order of [`Self::place`].
    pub(super) const ALL: [Self; 5] = [
        Self::ClientMetadata,
        Self::ClientKeys,
        Self::IssuerKeys,
        Self::ProviderMetadata,
        Self::ProviderTokens,
    ];

    /// Its place among all.
    pub(super) const fn place(self) -> usize {
        match self {
            Self::ClientMetadata => 0,
            Self::ClientKeys => 1,
            Self::IssuerKeys => 2,
            Self::ProviderMetadata => 3,
            Self::ProviderTokens => 4,
        }
    }

    pub(super) const fn named_by(self) -> NamedBy {
        match self {
            Self::ClientMetadata | Self::ClientKeys => NamedBy::Stranger,
            Self::IssuerKeys | Self::ProviderMetadata | Self::ProviderTokens => NamedBy::Admin,
        }
    }

    /// Bytes.
    pub(super) const fn most(self) -> usize {
        match self {
            Self::ClientMetadata => 5 * 1024,
            Self::ClientKeys | Self::IssuerKeys | Self::ProviderMetadata | Self::ProviderTokens => 64 * 1024,
        }
    }

    /// A few dozen megabytes together, if all are as large as they may be.
    pub(super) const fn room(self) -> Room {
        match self {
            Self::ClientMetadata => Room { all: 1_024, of_tenant: 64 },
            Self::ClientKeys => Room { all: 256, of_tenant: 32 },
            Self::IssuerKeys => Room { all: 512, of_tenant: 64 },
            Self::ProviderMetadata => Room { all: 256, of_tenant: 16 },
            // Nothing of it is kept.
            Self::ProviderTokens => Room { all: 1, of_tenant: 1 },
        }
    }

    pub(super) const fn ages(self) -> Ages {
        const fn minutes(minutes: u64) -> Duration {
            Duration::from_secs(minutes * 60)
        }
        match self {
            Self::ClientMetadata => Ages { least: minutes(1), default: minutes(60), most: minutes(24 * 60) },
            // A key that its owner has withdrawn is believed for an hour at most.
            Self::ClientKeys | Self::IssuerKeys | Self::ProviderMetadata | Self::ProviderTokens => {
                Ages { least: minutes(1), default: minutes(5), most: minutes(60) }
            }
        }
    }
}
