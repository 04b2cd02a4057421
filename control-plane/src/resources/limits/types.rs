//! What a limit looks like.

use ids::LimitId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use wire::snapshot::{MAX_BUDGET, MAX_CONCURRENCY, MAX_UNITS};

use crate::{
    http::problem::{ApiError, FieldError},
    publish::subject::LimitSubject,
    resources::fields::moment,
};

/// A limit.
#[derive(Debug, Serialize, ToSchema)]
pub struct Limit {
    /// Id.
    #[schema(value_type = String, example = "lim_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: LimitId,
    /// What it counts; never changes.
    pub subject: LimitSubject,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: LimitSettings,
    /// When it was made.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When one of these fields last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// What can be changed of a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Units of tool-call cost a minute; 0 refuses everything.
    #[schema(minimum = 0, maximum = 10_000_000, example = 60)]
    pub per_minute: u32,
    /// Units that may be taken at once.
    #[schema(minimum = 1, maximum = 10_000_000, example = 60)]
    pub burst: u32,
    /// Calls in flight at once; 0: as many as there are.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000, example = 32)]
    pub concurrency: u32,
    /// Units of tool-call cost a day, by the calendar of UTC; 0: no budget.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000_000, example = 5000)]
    pub per_day: u32,
    /// Units of tool-call cost a month, by the calendar of UTC; 0: no budget.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000_000, example = 100_000)]
    pub per_month: u32,
}

/// A limit by name. What is stored are its numbers, which the limit then shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// 60 units a minute.
    Conservative,
    /// 200 units a minute.
    Moderate,
    /// 600 units a minute.
    High,
}

impl Preset {
    /// Units a minute, all of which may be taken at once.
    #[must_use]
    pub const fn per_minute(self) -> u32 {
        match self {
            Self::Conservative => 60,
            Self::Moderate => 200,
            Self::High => 600,
        }
    }
}

/// How much of a limit is used now. Units that a proxy holds ahead of need count as used.
#[derive(Debug, Serialize, ToSchema)]
pub struct Usage {
    /// Who counts.
    pub counted: CountedBy,
    /// Calls; absent where each proxy counts for itself.
    pub calls: Option<RateUsage>,
    /// Everything that is no call.
    pub requests: Option<RateUsage>,
    /// The day's budget.
    pub day: Option<BudgetUsage>,
    /// The month's budget.
    pub month: Option<BudgetUsage>,
}

/// Who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// All proxies together, through Redis.
    Together,
    /// Each proxy for itself, because this installation has no Redis; only a proxy knows what is left.
    ByProxy,
}

/// What is left of a rate.
#[derive(Debug, Serialize, ToSchema)]
pub struct RateUsage {
    /// Units a minute.
    #[schema(example = 60)]
    pub per_minute: u32,
    /// Units that may be taken at once.
    #[schema(example = 60)]
    pub burst: u32,
    /// Units that may be taken now.
    #[schema(example = 42)]
    pub remaining: u32,
    /// Until all of the burst is there again, if nothing is taken.
    #[schema(example = 18_000)]
    pub full_after_ms: u64,
}

/// What is left of a budget.
#[derive(Debug, Serialize, ToSchema)]
pub struct BudgetUsage {
    /// Units in all.
    #[schema(example = 5000)]
    pub units: u32,
    /// Units used.
    #[schema(example = 1200)]
    pub used: u64,
    /// Units left.
    #[schema(example = 3800)]
    pub remaining: u32,
    /// When the day or month ends (UTC).
    #[serde(with = "moment")]
    pub ends_at: OffsetDateTime,
}

impl Usage {
    /// Without a Redis, nobody but the proxies can say.
    #[must_use]
    pub const fn by_proxy() -> Self {
        Self { counted: CountedBy::ByProxy, calls: None, requests: None, day: None, month: None }
    }
}

/// A limit to be made: by `preset`, or by `per_minute` and `burst`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitNew {
    /// What it counts.
    pub subject: LimitSubject,
    /// Instead of `per_minute` and `burst`.
    pub preset: Option<Preset>,
    /// Units of tool-call cost a minute; 0 refuses everything.
    #[schema(minimum = 0, maximum = 10_000_000, example = 60)]
    pub per_minute: Option<u32>,
    /// Units that may be taken at once.
    #[schema(minimum = 1, maximum = 10_000_000, example = 60)]
    pub burst: Option<u32>,
    /// Calls in flight at once; 0: as many as there are.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000, example = 32)]
    pub concurrency: u32,
    /// Units of tool-call cost a day, by the calendar of UTC; 0: no budget.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000_000, example = 5000)]
    pub per_day: u32,
    /// Units of tool-call cost a month, by the calendar of UTC; 0: no budget.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000_000, example = 100_000)]
    pub per_month: u32,
}

impl LimitNew {
    /// Subject and settings.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] where rate and preset are both given, or neither.
    pub fn split(self) -> Result<(LimitSubject, LimitSettings), ApiError> {
        let Self { subject, preset, per_minute, burst, concurrency, per_day, per_month } = self;
        let (per_minute, burst) = match (preset, per_minute, burst) {
            (Some(preset), None, None) => (preset.per_minute(), preset.per_minute()),
            (None, Some(per_minute), Some(burst)) => (per_minute, burst),
            (Some(_), ..) => {
                return Err(ApiError::invalid("/preset", "stands instead of per_minute and burst"));
            }
            (None, None, _) => {
                return Err(ApiError::invalid("/per_minute", "is missing, and so is a preset"));
            }
            (None, Some(_), None) => return Err(ApiError::invalid("/burst", "is missing")),
        };
        Ok((subject, LimitSettings { per_minute, burst, concurrency, per_day, per_month }))
    }
}

impl LimitSettings {
    /// Refuses numbers that a proxy would not accept.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with each.
    pub fn check(&self) -> Result<(), ApiError> {
        let bounds = [
            ("/per_minute", self.per_minute, 0, MAX_UNITS),
            ("/burst", self.burst, 1, MAX_UNITS),
            ("/concurrency", self.concurrency, 0, MAX_CONCURRENCY),
            ("/per_day", self.per_day, 0, MAX_BUDGET),
            ("/per_month", self.per_month, 0, MAX_BUDGET),
        ];
        let wrong = bounds.into_iter().filter(|(_, value, least, most)| !(*least..=*most).contains(value));
        let errors: Vec<_> = wrong
            .map(|(pointer, _, least, most)| FieldError {
                pointer: pointer.to_owned(),
                message: format!("must be from {least} to {most}"),
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_out_of_bounds_are_all_named() {
        let fine = LimitSettings { per_minute: 0, burst: 1, concurrency: 0, per_day: 0, per_month: 0 };
        assert!(fine.check().is_ok());
        let wrong = LimitSettings {
            per_minute: MAX_UNITS + 1,
            burst: 0,
            concurrency: MAX_CONCURRENCY + 1,
            per_day: MAX_BUDGET + 1,
            per_month: u32::MAX,
        };
        let Err(ApiError::Invalid(errors)) = wrong.check() else { panic!("accepted") };
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/per_minute", "/burst", "/concurrency", "/per_day", "/per_month"]);
    }

    #[test]
    fn a_limit_is_made_by_preset_or_by_numbers() {
        let made = |body| serde_json::from_value::<LimitNew>(body).unwrap().split();
        let (_, settings) = made(json!({"subject": "tenant", "preset": "moderate"})).unwrap();
        assert_eq!((settings.per_minute, settings.burst, settings.per_day), (200, 200, 0));
        let numbers = json!({"subject": "tenant", "per_minute": 7, "burst": 9, "per_month": 11});
        let (_, settings) = made(numbers).unwrap();
        assert_eq!((settings.per_minute, settings.burst, settings.per_month), (7, 9, 11));
        for (body, place) in [
            (json!({"subject": "tenant", "preset": "high", "burst": 9}), "/preset"),
            (json!({"subject": "tenant", "burst": 9}), "/per_minute"),
            (json!({"subject": "tenant", "per_minute": 9}), "/burst"),
        ] {
            let Err(ApiError::Invalid(errors)) = made(body) else { panic!("accepted") };
            assert_eq!(errors[0].pointer, place);
        }
    }
}
