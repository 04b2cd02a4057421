//! What an access token of a tenant's issuer claims (RFC 9068): written by the control plane, read by proxies.
//!
//! Members of the JSON are part of the contract and pinned by tests. What is not known here is left alone, as RFC 7519 asks, but for
//! confirmations: a token that is bound in a way that nobody here can check is no token.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ids::{ClientId, MemberId, ParseIdError, Scopes, TokenId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Who acts for whom, at most: a token's own subject, and so many behind each other.
pub const MAX_ACTORS: usize = 4;

/// What a token claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer, byte for byte.
    pub iss: String,
    /// Whose it is.
    pub sub: Subject,
    /// Who was given it: the subject itself, or through whom a member acts.
    pub client_id: ClientId,
    /// The endpoint that it is for, by one of its resource identifiers.
    pub aud: String,
    /// Seconds since the epoch at which it was made.
    pub iat: u64,
    /// From which on it is over.
    pub exp: u64,
    /// Before which it is not good. None of ours has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Its id, which also says when it was made, more exactly than `iat`.
    pub jti: TokenId,
    /// What it may be used for; absent where there is none.
    #[serde(default, skip_serializing_if = "Scopes::is_empty")]
    pub scope: Scopes,
    /// To what it is bound. What is there and says nothing does not say that it is bound to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub cnf: Option<Confirmation>,
    /// When the member signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<u64>,
    /// Who acts for the subject (RFC 8693 section 4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
}

/// Whose a token is. As text its id, which says which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The client's own.
    Client(ClientId),
    /// A member's, who acts through a client.
    Member(MemberId),
}

/// Who acts for a subject, and for whom in turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// Who.
    pub sub: Subject,
    /// Who acted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

/// To what a token is bound (RFC 7800): whoever shows it has to show that he has this too. At least one of them is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Confirmation {
    /// A key, by its thumbprint (RFC 7638): DPoP (RFC 9449 section 6.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jkt: Option<Thumbprint>,
    /// A client certificate (RFC 8705 section 3.1).
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Thumbprint>,
}

/// A SHA-256. As text base64url, 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint(pub [u8; 32]);

impl Claims {
    /// Through whom the member acts whose it is; `None` where it is the client's own.
    #[must_use]
    pub const fn member(&self) -> Option<MemberId> {
        match self.sub {
            Subject::Client(_) => None,
            Subject::Member(member) => Some(member),
        }
    }

    /// By which scheme it is shown, and what its type is called (RFC 6749 section 7.1, RFC 9449 section 5).
    #[must_use]
    pub const fn token_type(&self) -> &'static str {
        match self.cnf {
            Some(Confirmation { jkt: Some(_), .. }) => "DPoP",
            _ => "Bearer",
        }
    }

    /// Whether subject and client agree: a client has no token of another's.
    #[must_use]
    pub fn is_of_its_client(&self) -> bool {
        match self.sub {
            Subject::Client(client) => client == self.client_id,
            Subject::Member(_) => true,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(id) => id.fmt(f),
            Self::Member(id) => id.fmt(f),
        }
    }
}

impl FromStr for Subject {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse().map(Self::Member).or_else(|_| text.parse().map(Self::Client))
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Actor {
    /// How many act behind each other.
    #[must_use]
    pub fn depth(&self) -> usize {
        std::iter::successors(Some(self), |actor| actor.act.as_deref()).count()
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Text {
            sub: Subject,
            #[serde(default)]
            act: Option<Box<Actor>>,
        }
        let Text { sub, act } = Text::deserialize(deserializer)?;
        let actor = Self { sub, act };
        if actor.depth() > MAX_ACTORS {
            return Err(de::Error::custom("too many act for each other"));
        }
        Ok(actor)
    }
}

/// What is there has to be one: `null` is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Confirmation>, D::Error> {
    Confirmation::deserialize(deserializer).map(Some)
}

impl Confirmation {
    /// By a key (RFC 9449).
    #[must_use]
    pub const fn key(thumbprint: Thumbprint) -> Self {
        Self { jkt: Some(thumbprint), certificate: None }
    }
}

impl<'de> Deserialize<'de> for Confirmation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Text {
            jkt: Option<Thumbprint>,
            #[serde(rename = "x5t#S256")]
            certificate: Option<Thumbprint>,
        }
        let Text { jkt, certificate } = Text::deserialize(deserializer)?;
        if jkt.is_none() && certificate.is_none() {
            return Err(de::Error::custom("binds to nothing"));
        }
        Ok(Self { jkt, certificate })
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 43 characters of base64url")]
pub struct NotAThumbprint;

impl FromStr for Thumbprint {
    type Err = NotAThumbprint;

    fn from_str(text: &str) -> Result<Self, NotAThumbprint> {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => Ok(Self(bytes)),
            _ => Err(NotAThumbprint),
        }
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Thumbprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
