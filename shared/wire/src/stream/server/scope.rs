//! What one stream knows of one tenant, and what it therefore wants to send.

use seams::Monotonic;

use crate::stream::Version;

/// What is under way for a tenant. At most one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Flight {
    #[default]
    None,
    Loading,
    Sent {
        nonce: u64,
        version: Version,
        /// It is of use only with what the proxy holds.
        leans: bool,
    },
    Removing {
        nonce: u64,
    },
}

#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Newest stored version; `None` when the tenant is gone.
    pub(super) target: Option<Version>,
    /// What the proxy said it enforces.
    pub(super) held: Option<Version>,
    /// What it last refused.
    pub(super) refused: Option<Version>,
    /// What was sent leant on what the proxy does not hold: the whole snapshot is to be sent, with all its definitions.
    pub(super) whole: bool,
    /// Not again before this time.
    pub(super) retry_at: Option<Monotonic>,
    pub(super) flight: Flight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Something is under way already.
    Busy,
    /// To be tried again at `retry_at`.
    Later,
    /// The proxy has what it should have, or has refused it.
    Nothing,
    Load,
    Remove,
}

impl Scope {
    /// What a delta may be put onto.
    pub(super) fn base(&self) -> Option<Version> {
        self.held.filter(|_| !self.whole)
    }

    pub(super) fn want(&self, now: Monotonic) -> Want {
        if self.flight != Flight::None {
            return Want::Busy;
        }
        let Some(target) = self.target else {
            return if self.held.is_some() { Want::Remove } else { Want::Nothing };
        };
        if self.held.is_some_and(|held| held == target || held.rev > target.rev) {
            return Want::Nothing;
        }
        match self.retry_at {
            Some(at) if at > now => Want::Later,
            None if self.refused == Some(target) => Want::Nothing,
            _ => Want::Load,
        }
    }
}
