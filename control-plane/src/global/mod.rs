//! Configuration of the fleet, and how a new revision of it reaches the proxies: in stages, so that a bad one meets few of them.
//!
//! One row says who is to enforce what ([`Rollout`]). Every replica reads it with each poll and gives its proxies what it says
//! ([`Aims`]); whichever of them finds that a stage has held moves the row on, under its lock ([`advance`]). What a stage has to
//! hold is decided by [`gate`], from what proxies say: their acknowledgements and refusals, their runs, and what they answered.
//! For how long a proxy is waited for that does not answer, or went away, is remembered by [`patience`]. A stage that fails takes
//! its proxies back at once, to a new revision with the content that all others have.

pub mod advance;
pub mod gate;
pub mod patience;
pub(crate) mod queries;
pub mod rollout;

use crypto::digest::sha256;
use ids::ProxyId;
use serde::Serialize;
use utoipa::ToSchema;
use wire::stream::Version;

/// How much of the fleet the stages reach, per cent.
pub const STAGES: [u8; 4] = [1, 10, 50, 100];

/// Everyone.
pub const WHOLE: u8 = 100;

/// How far the newest revision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Every proxy is to enforce it.
    Complete,
    /// It goes from stage to stage.
    Rolling,
    /// It stays where it is until an operator says how it goes on.
    Halted,
    /// A stage failed: it repeats the content that was everywhere before, for every proxy.
    RolledBack,
}

impl State {
    const ALL: [Self; 4] = [Self::Complete, Self::Rolling, Self::Halted, Self::RolledBack];

    /// As stored and as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Rolling => "rolling",
            Self::Halted => "halted",
            Self::RolledBack => "rolled_back",
        }
    }

    /// From its stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether some proxies are to enforce the newest revision and others are not.
    #[must_use]
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Rolling | Self::Halted)
    }
}

/// Whom a stage reaches. A proxy that was in an earlier stage is in every later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// One of [`STAGES`].
    pub percent: u8,
    /// In it whatever its share.
    pub first: Option<ProxyId>,
}

impl Stage {
    /// Everyone.
    pub const WHOLE: Self = Self { percent: WHOLE, first: None };

    /// Whether it reaches `proxy`.
    #[must_use]
    pub fn has(&self, proxy: ProxyId) -> bool {
        self.first == Some(proxy) || share(proxy) < u16::from(self.percent) * 100
    }
}

/// Where a proxy stands in the fleet: 0 to 9,999, the same for ever, and no business of who enrolled it.
#[must_use]
pub fn share(proxy: ProxyId) -> u16 {
    let hash = sha256(&[b"portcullis cohort v1\0".as_slice(), proxy.uuid().as_bytes()].concat());
    (u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % 10_000) as u16
}

/// What each proxy is to enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aims {
    /// Whether the row moves on by itself.
    pub is_rolling: bool,
    /// Whom it reaches.
    pub stage: Stage,
    /// What they are to enforce.
    pub target: Option<Version>,
    /// What all others are to.
    pub stable: Option<Version>,
}

impl Default for Aims {
    fn default() -> Self {
        Self { is_rolling: false, stage: Stage::WHOLE, target: None, stable: None }
    }
}

impl Aims {
    /// What `proxy` is to enforce; `None`: nothing but what it was started with.
    #[must_use]
    pub fn of(&self, proxy: ProxyId) -> Option<Version> {
        if self.stage.has(proxy) { self.target } else { self.stable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(n: u16) -> ProxyId {
        let mut random = [0; 10];
        random[..2].copy_from_slice(&n.to_be_bytes());
        ProxyId::from_parts(1, random)
    }

    #[test]
    fn stages_reach_their_part_of_the_fleet_and_keep_it() {
        let fleet: Vec<_> = (0..2_000).map(proxy).collect();
        let mut before = 0;
        for percent in STAGES {
            let stage = Stage { percent, first: None };
            let reached = fleet.iter().filter(|proxy| stage.has(**proxy)).count();
            let expected = fleet.len() * usize::from(percent) / 100;
            assert!(reached.abs_diff(expected) <= 60, "{percent} %: {reached} of {}", fleet.len());
            assert!(reached > before);
            let next = Stage { percent: percent.max(50), first: None };
            assert!(fleet.iter().all(|proxy| !stage.has(*proxy) || next.has(*proxy)));
            before = reached;
        }
        assert!(fleet.iter().all(|proxy| Stage::WHOLE.has(*proxy)));
    }

    #[test]
    fn the_first_proxy_is_in_every_stage() {
        let first = (0..).map(proxy).find(|proxy| share(*proxy) > 9_000).unwrap();
        let other = (0..).map(proxy).find(|proxy| share(*proxy) > 9_000 && *proxy != first).unwrap();
        let stage = Stage { percent: 1, first: Some(first) };
        assert!(stage.has(first) && !stage.has(other));
        let version = |rev| Some(Version { rev, digest: [rev as u8; 32] });
        let aims = Aims { is_rolling: true, stage, target: version(2), stable: version(1) };
        assert_eq!((aims.of(first), aims.of(other)), (version(2), version(1)));
        assert_eq!(Aims::default().of(other), None);
    }

    #[test]
    fn states_have_their_names() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.name()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
