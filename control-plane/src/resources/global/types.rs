//! What the fleet's configuration and its rollout look like.

use ids::ProxyId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use wire::{global, v1::GlobalSnapshot};

use crate::{
    global::{
        State,
        gate::Member,
        rollout::{Revision, Rollout},
    },
    http::problem::ApiError,
    resources::fields::{Reason, moment},
};

/// The fleet's configuration: its newest revision, which perhaps not every proxy has yet.
#[derive(Debug, Serialize, ToSchema)]
pub struct Global {
    /// Its number; 0: there was never any.
    pub rev: u64,
    /// What it says.
    #[serde(flatten)]
    pub settings: GlobalSettings,
}

/// What can be changed of every proxy while it runs. Null: as each was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobalSettings {
    /// The most bytes that an endpoint may take in a request, whatever its tenant configured.
    #[serde(default)]
    #[schema(minimum = 4096, maximum = 67_108_864)]
    pub max_request_bytes: Option<u32>,
    /// The most bytes that an endpoint may give in one message, whatever its tenant configured.
    #[serde(default)]
    #[schema(minimum = 4096, maximum = 67_108_864)]
    pub max_response_bytes: Option<u32>,
    /// Open connections of one IPv4 address, or IPv6 network of 64 bits, at one worker of a proxy.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub connections_per_address: Option<u32>,
    /// Failed authentications and anonymous answers of one address.
    #[serde(default)]
    pub address_limit: Option<AddressLimit>,
}

/// How much one address may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressLimit {
    /// Units a minute.
    #[schema(minimum = 1, maximum = 10_000_000)]
    pub per_minute: u32,
    /// Units that may be taken at once.
    #[schema(minimum = 1, maximum = 10_000_000)]
    pub burst: u32,
}

impl GlobalSettings {
    /// As it is pushed, if it can be.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with the first field that cannot.
    pub fn compile(&self) -> Result<GlobalSnapshot, ApiError> {
        let address = self.address_limit.unwrap_or(AddressLimit { per_minute: 0, burst: 0 });
        let snapshot = GlobalSnapshot {
            schema: global::SCHEMA,
            rev: 1,
            max_request_bytes: self.max_request_bytes.unwrap_or_default(),
            max_response_bytes: self.max_response_bytes.unwrap_or_default(),
            connections_per_address: self.connections_per_address.unwrap_or_default(),
            address_per_minute: address.per_minute,
            address_burst: address.burst,
        };
        // What is given as 0 would be taken for what is not given.
        let zero = [
            ("/max_request_bytes", self.max_request_bytes),
            ("/max_response_bytes", self.max_response_bytes),
            ("/connections_per_address", self.connections_per_address),
            ("/address_limit/per_minute", self.address_limit.map(|limit| limit.per_minute)),
            ("/address_limit/burst", self.address_limit.map(|limit| limit.burst)),
        ];
        if let Some((pointer, _)) = zero.into_iter().find(|(_, value)| *value == Some(0)) {
            return Err(ApiError::invalid(
                pointer,
                "must not be 0; null leaves it as each proxy was started",
            ));
        }
        global::validate(&snapshot).map_err(|invalid| {
            let field = invalid.detail.split(' ').next().unwrap_or_default();
            ApiError::invalid(format!("/{field}"), invalid.detail)
        })?;
        Ok(snapshot)
    }
}

impl From<&GlobalSnapshot> for GlobalSettings {
    fn from(snapshot: &GlobalSnapshot) -> Self {
        let set = |value: u32| (value > 0).then_some(value);
        let address = AddressLimit { per_minute: snapshot.address_per_minute, burst: snapshot.address_burst };
        Self {
            max_request_bytes: set(snapshot.max_request_bytes),
            max_response_bytes: set(snapshot.max_response_bytes),
            connections_per_address: set(snapshot.connections_per_address),
            address_limit: set(address.burst).map(|_| address),
        }
    }
}

impl From<&Revision> for Global {
    fn from(revision: &Revision) -> Self {
        Self { rev: revision.snapshot.rev, settings: (&revision.snapshot).into() }
    }
}

/// A revision of the fleet's configuration.
#[derive(Debug, Serialize, ToSchema)]
pub struct GlobalRevision {
    /// Number and content.
    #[serde(flatten)]
    pub global: Global,
    /// Hash over its content, hexadecimal. Equal digests, equal content.
    pub digest: String,
    /// The revision whose content came again with it; null: it has its own.
    pub repeats: Option<u64>,
    /// Who made it.
    pub actor: String,
    /// When.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
}

/// How far the newest revision is.
#[derive(Debug, Serialize, ToSchema)]
pub struct GlobalRollout {
    /// Whether it goes on by itself.
    #[schema(value_type = String, example = "rolling")]
    pub state: State,
    /// The newest revision; 0: there was never any.
    pub target_rev: u64,
    /// What proxies outside the stage are to enforce; 0: what they were started with.
    pub stable_rev: u64,
    /// How much of the fleet the newest revision reaches, per cent: 1, 10, 50 or 100.
    pub stage_percent: u8,
    /// Since when.
    #[serde(with = "moment")]
    pub stage_at: OffsetDateTime,
    /// How long each stage has to hold after its last proxy has applied the revision.
    pub soak_seconds: u32,
    /// Why it was halted or rolled back; null: it was not.
    pub reason: Option<String>,
    /// Over the proxies that were not revoked.
    pub proxies: GlobalCounts,
    /// The proxies that the stage reaches and that do not enforce the newest revision, or are away; 100 at most.
    #[schema(value_type = Vec<String>)]
    pub behind: Vec<ProxyId>,
}

/// Counts of proxies.
#[derive(Debug, Serialize, ToSchema)]
pub struct GlobalCounts {
    /// Reached by the stage.
    pub in_stage: u32,
    /// Of these, enforce the newest revision.
    pub applied: u32,
    /// Of these, refused it.
    pub rejected: u32,
    /// Not reached yet.
    pub others: u32,
}

impl GlobalRollout {
    /// From the row and what proxies said.
    #[must_use]
    pub fn new(rollout: &Rollout, fleet: &[Member]) -> Self {
        const NAMED: usize = 100;
        let target = rollout.target_rev;
        let (members, others): (Vec<_>, Vec<_>) =
            fleet.iter().partition(|member| rollout.stage.has(member.proxy));
        let count = |counts: usize| u32::try_from(counts).unwrap_or(u32::MAX);
        let of = |is: fn(&Member, u64) -> bool| count(members.iter().filter(|it| is(it, target)).count());
        let behind = members.iter().filter(|member| target > 0 && (member.rev != target || !member.live));
        Self {
            state: rollout.state,
            target_rev: target,
            stable_rev: rollout.stable_rev,
            stage_percent: rollout.stage.percent,
            stage_at: rollout.stage_at.to_offset(),
            soak_seconds: u32::try_from(rollout.soak.as_secs()).unwrap_or(u32::MAX),
            reason: rollout.reason.clone(),
            proxies: GlobalCounts {
                in_stage: count(members.len()),
                applied: of(|member, target| target > 0 && member.rev == target),
                rejected: of(|member, target| target > 0 && member.rejected_rev == target),
                others: count(others.len()),
            },
            behind: behind.map(|member| member.proxy).take(NAMED).collect(),
        }
    }
}

/// What can be changed of how revisions are rolled out.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobalRolloutSettings {
    /// How long each stage has to hold.
    #[schema(minimum = 0, maximum = 86_400)]
    pub soak_seconds: u32,
}

/// What is to become of the rollout.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobalRolloutAct {
    /// `target_rev` of the rollout, as it was seen: nobody decides of what they have not looked at.
    pub target_rev: u64,
    /// Why.
    #[schema(value_type = String, max_length = 500)]
    pub reason: Reason,
}

/// Which content is to come again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobalRevert {
    /// `target_rev` of the rollout, as it was seen.
    pub target_rev: u64,
    /// The revision whose content comes again. Absent while a rollout is under way: what the proxies outside its stage have.
    #[serde(default)]
    pub rev: Option<u64>,
    /// Why.
    #[schema(value_type = String, max_length = 500)]
    pub reason: Reason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_there_and_back() {
        let settings = GlobalSettings {
            max_request_bytes: Some(65_536),
            max_response_bytes: None,
            connections_per_address: Some(8),
            address_limit: Some(AddressLimit { per_minute: 60, burst: 5 }),
        };
        assert_eq!(GlobalSettings::from(&settings.compile().unwrap()), settings);
        let nothing = GlobalSettings::default();
        assert_eq!(GlobalSettings::from(&nothing.compile().unwrap()), nothing);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let place = |settings: GlobalSettings| match settings.compile() {
            Err(ApiError::Invalid(errors)) => errors[0].pointer.clone(),
            other => panic!("{other:?}"),
        };
        let limit = |per_minute, burst| GlobalSettings {
            address_limit: Some(AddressLimit { per_minute, burst }),
            ..GlobalSettings::default()
        };
        assert_eq!(
            place(GlobalSettings { max_request_bytes: Some(1), ..Default::default() }),
            "/max_request_bytes"
        );
        assert_eq!(
            place(GlobalSettings { max_response_bytes: Some(0), ..Default::default() }),
            "/max_response_bytes"
        );
        let connections = GlobalSettings { connections_per_address: Some(u32::MAX), ..Default::default() };
        assert_eq!(place(connections), "/connections_per_address");
        assert_eq!(place(limit(0, 5)), "/address_limit/per_minute");
        assert_eq!(place(limit(5, 0)), "/address_limit/burst");
        assert_eq!(place(limit(u32::MAX, 5)), "/address_limit");
    }
}
