use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The name of a scope (RFC 6749 section 3.3): 1 to 64 printable ASCII characters, neither space, `"` nor `\`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Box<str>);

/// Scopes, each once, in order of their names: what a token has. As text they stand with a space between.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Scopes(Box<[Scope]>);

/// Why a text is no scope, or no list of some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Wrong length or characters.
    #[error("must be 1 to 64 printable ASCII characters without space, quotation mark and backslash")]
    Shape,
    /// More than [`Scopes::MOST`].
    #[error("must be 64 scopes at most")]
    Count,
}

impl Scope {
    /// Characters of a name.
    pub const MAX: usize = 64;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let fits = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let good = (1..=Self::MAX).contains(&text.len()) && text.bytes().all(fits);
        if good { Ok(Self(text.into())) } else { Err(ScopeError::Shape) }
    }
}

impl Scopes {
    /// How many there are at most, in a token as in a tenant: so a token can have all of its tenant's.
    pub const MOST: usize = 64;

    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Of names.
    ///
    /// # Errors
    /// [`ScopeError::Count`].
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, ScopeError> {
        let mut own = Vec::new();
        for scope in scopes {
            if let Err(at) = own.binary_search(&scope) {
                if own.len() == Self::MOST {
                    return Err(ScopeError::Count);
                }
                own.insert(at, scope);
            }
        }
        Ok(Self(own.into()))
    }

    /// The first of these by name, as many as there may be.
    #[must_use]
    pub fn first(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut own: Vec<Scope> = scopes.into_iter().collect();
        own.sort_unstable();
        own.dedup();
        own.truncate(Self::MOST);
        Self(own.into())
    }

    /// Of both, and of more than [`Self::MOST`] the first.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self::first([&*self.0, &*other.0].concat())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.binary_search_by(|own| own.as_str().cmp(name)).is_ok()
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;

    /// Spaces at the ends, and several between two, are nothing.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let mut scopes = Vec::new();
        for name in text.split(' ').filter(|name| !name.is_empty()) {
            // Before the names of a long list are looked at.
            if scopes.len() > Self::MOST * 2 {
                return Err(ScopeError::Count);
            }
            scopes.push(name.parse()?);
        }
        Self::new(scopes)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, scope) in self.0.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { " " })?;
            f.write_str(&scope.0)?;
        }
        Ok(())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
