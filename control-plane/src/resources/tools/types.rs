//! What a tool looks like.

use std::fmt;

use ids::{CommandId, ToolId, UpstreamId};
use policy::Class;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;
use wire::snapshot::{MAX_LABEL, MAX_LABELS, MAX_UNITS};

use crate::{
    http::problem::{ApiError, FieldError},
    publish::rows::ToolState,
    resources::fields::{MAX_CALL_TIMEOUT_MS, MAX_CONNECT_TIMEOUT_MS, moment},
};

/// A tool of an upstream.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tool {
    /// Id.
    #[schema(value_type = String, example = "tool_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: ToolId,
    /// The upstream that offers it.
    #[schema(value_type = String, example = "ups_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub upstream_id: UpstreamId,
    /// The upstream's own name for it.
    pub name: String,
    /// Where its review stands.
    pub state: ToolState,
    /// What can be changed.
    #[serde(flatten)]
    pub settings: ToolSettings,
    /// Digest of the approved definition: SHA-256 of its canonical form (RFC 8785), hexadecimal.
    pub pinned_digest: Option<String>,
    /// When it was approved.
    #[serde(with = "moment::option")]
    pub pinned_at: Option<OffsetDateTime>,
    /// Digest of the definition that was seen last.
    pub seen_digest: String,
    /// When the tool was first seen.
    #[serde(with = "moment")]
    pub first_seen_at: OffsetDateTime,
    /// When it was last seen.
    #[serde(with = "moment")]
    pub last_seen_at: OffsetDateTime,
    /// When its state or settings last changed.
    #[serde(with = "moment")]
    pub updated_at: OffsetDateTime,
}

/// A tool with its definitions, as the upstream sent them.
#[derive(Debug, Serialize, ToSchema)]
pub struct ToolDetail {
    /// The tool.
    #[serde(flatten)]
    pub tool: Tool,
    /// The approved definition; null when none is.
    #[schema(value_type = Option<Object>)]
    pub pinned_definition: Option<Box<RawValue>>,
    /// The definition that was seen last. Not to be trusted: its texts are the upstream's.
    #[schema(value_type = Object)]
    pub seen_definition: Box<RawValue>,
}

/// What can be changed of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolSettings {
    /// How dangerous it is. A tool that nobody classified is callable only through a grant that names it.
    #[serde(default = "unclassified")]
    #[schema(value_type = ClassDocument)]
    pub class: Class,
    /// Capability labels for policies, such as `fs_write` or `network`.
    #[serde(default)]
    #[schema(max_items = 32, example = json!(["network"]))]
    pub labels: Vec<String>,
    /// Units of the limits that a call costs.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 10_000_000)]
    pub cost: u32,
    /// Time-outs of its calls, where they are not its upstream's.
    #[serde(default)]
    pub timeouts: ToolTimeouts,
}

/// Time-outs of one tool's calls. One that is null or absent is the upstream's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolTimeouts {
    /// Milliseconds to a connection.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 60000)]
    pub connect_timeout_ms: Option<u32>,
    /// Milliseconds from the request's last byte to the response's first.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3600000)]
    pub first_byte_timeout_ms: Option<u32>,
    /// Milliseconds between two reads of a response.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3600000)]
    pub idle_timeout_ms: Option<u32>,
    /// Milliseconds for a whole call.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3600000)]
    pub total_timeout_ms: Option<u32>,
}

const fn unclassified() -> Class {
    Class::Unclassified
}

const fn one() -> u32 {
    1
}

impl ToolSettings {
    /// Sorted, without repetition, and acceptable to a proxy.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with each place that is not.
    pub fn checked(mut self) -> Result<Self, ApiError> {
        let mut errors = Vec::new();
        let mut fault = |pointer: String, message: String| errors.push(FieldError { pointer, message });
        if self.labels.len() > MAX_LABELS {
            fault("/labels".to_owned(), format!("at most {MAX_LABELS} labels"));
        }
        for (index, label) in self.labels.iter().enumerate() {
            let shaped =
                label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.:".contains(&b));
            if !shaped || !(1..=MAX_LABEL).contains(&label.len()) {
                fault(
                    format!("/labels/{index}"),
                    format!("must be 1 to {MAX_LABEL} of a-z, 0-9, `_`, `-`, `.`, `:`"),
                );
            }
        }
        if !(1..=MAX_UNITS).contains(&self.cost) {
            fault("/cost".to_owned(), format!("must be from 1 to {MAX_UNITS}"));
        }
        let timeouts = &self.timeouts;
        for (field, value, most) in [
            ("connect_timeout_ms", timeouts.connect_timeout_ms, MAX_CONNECT_TIMEOUT_MS),
            ("first_byte_timeout_ms", timeouts.first_byte_timeout_ms, MAX_CALL_TIMEOUT_MS),
            ("idle_timeout_ms", timeouts.idle_timeout_ms, MAX_CALL_TIMEOUT_MS),
            ("total_timeout_ms", timeouts.total_timeout_ms, MAX_CALL_TIMEOUT_MS),
        ] {
            if value.is_some_and(|value| !(1..=most).contains(&value)) {
                fault(format!("/timeouts/{field}"), format!("must be from 1 to {most}"));
            }
        }
        self.labels.sort_unstable();
        self.labels.dedup();
        if errors.is_empty() { Ok(self) } else { Err(ApiError::Invalid(errors)) }
    }
}

/// How an approval is made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The class to give the tool; if absent it stays as it is.
    #[serde(default)]
    #[schema(value_type = Option<ClassDocument>)]
    pub class: Option<Class>,
    /// `seen_digest` of the definition that was reviewed: if another was seen since, the answer is 409.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$")]
    pub digest: Option<DefinitionDigest>,
}

/// A definition's digest in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefinitionDigest(pub [u8; 32]);

impl fmt::Display for DefinitionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crypto::digest::hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for DefinitionDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0; 32];
        match hex::decode_to_slice(&text, &mut digest) {
            Ok(()) => Ok(Self(digest)),
            Err(_) => Err(de::Error::custom("must be 64 hexadecimal digits")),
        }
    }
}

/// How dangerous a tool is.
#[derive(Debug, ToSchema)]
#[schema(as = ToolClass)]
#[serde(rename_all = "snake_case")]
pub enum ClassDocument {
    /// Changes nothing.
    Read,
    /// Changes something that can be changed back.
    Write,
    /// Destroys.
    Destructive,
    /// Nobody has said.
    Unclassified,
}

/// Work asked of a proxy.
#[derive(Debug, Serialize, ToSchema)]
pub struct Command {
    /// Id.
    #[schema(value_type = String, example = "cmd_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub id: CommandId,
    /// The upstream to look at.
    #[schema(value_type = String, example = "ups_01hzy3v5d1f4m8q2w6x9c0b7ka")]
    pub upstream_id: UpstreamId,
    /// When it was asked.
    #[serde(with = "moment")]
    pub created_at: OffsetDateTime,
    /// When a proxy last took it up; null: none has yet.
    #[serde(with = "moment::option")]
    pub claimed_at: Option<OffsetDateTime>,
    /// When it ended; null: it has not.
    #[serde(with = "moment::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// Stable code of what went wrong; null: nothing did.
    pub error_code: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(labels: &[&str], cost: u32) -> ToolSettings {
        ToolSettings {
            class: Class::Read,
            labels: labels.iter().map(ToString::to_string).collect(),
            cost,
            timeouts: ToolTimeouts::default(),
        }
    }

    #[test]
    fn time_outs_are_in_bounds_or_the_upstreams() {
        let with = |timeouts| ToolSettings { timeouts, ..settings(&[], 1) }.checked();
        let all = |value| ToolTimeouts {
            connect_timeout_ms: value,
            first_byte_timeout_ms: value,
            idle_timeout_ms: value,
            total_timeout_ms: value,
        };
        for good in [None, Some(1), Some(60_000)] {
            assert!(with(all(good)).is_ok(), "{good:?}");
        }
        let Err(ApiError::Invalid(errors)) = with(all(Some(0))) else { panic!("accepted") };
        assert_eq!((errors.len(), &*errors[0].pointer), (4, "/timeouts/connect_timeout_ms"));
        let Err(ApiError::Invalid(errors)) = with(all(Some(60_001))) else { panic!("accepted") };
        assert_eq!(errors.len(), 1, "only connecting has to be faster");
        assert!(with(all(Some(3_600_001))).is_err());
    }

    #[test]
    fn labels_are_a_set() {
        assert_eq!(settings(&["b", "a", "b"], 1).checked().unwrap(), settings(&["a", "b"], 1));
        let Err(ApiError::Invalid(errors)) = settings(&["ok", "", "A b"], 0).checked() else {
            panic!("accepted")
        };
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/labels/1", "/labels/2", "/cost"]);
        assert!(settings(&["x"; 33], 1).checked().is_err());
    }

    #[test]
    fn a_digest_is_64_digits() {
        let parse = |text: &str| serde_json::from_value::<DefinitionDigest>(text.into());
        assert_eq!(parse(&"aB".repeat(32)).unwrap(), DefinitionDigest([0xab; 32]));
        for wrong in ["", "ab", &"ab".repeat(33), &"zz".repeat(32)] {
            assert!(parse(wrong).is_err());
        }
    }

    #[test]
    fn definitions_are_embedded_byte_for_byte() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let detail = ToolDetail {
            tool: Tool {
                id: ToolId::from_parts(1, [1; 10]),
                upstream_id: UpstreamId::from_parts(1, [2; 10]),
                name: "add".to_owned(),
                state: ToolState::Quarantined,
                settings: settings(&["network"], 2),
                pinned_digest: None,
                pinned_at: None,
                seen_digest: "00".repeat(32),
                first_seen_at: OffsetDateTime::UNIX_EPOCH,
                last_seen_at: OffsetDateTime::UNIX_EPOCH,
                updated_at: OffsetDateTime::UNIX_EPOCH,
            },
            pinned_definition: None,
            seen_definition: raw(r#"{"name":"add", "x":1.0e2}"#),
        };
        let text = serde_json::to_string(&detail).unwrap();
        assert!(text.contains(r#""seen_definition":{"name":"add", "x":1.0e2}"#), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["state"], "quarantined");
        assert_eq!(value["labels"], json!(["network"]));
        assert_eq!(value["pinned_definition"], json!(null));
    }
}
