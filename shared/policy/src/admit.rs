//! Admission of grants: bounds first, then Cedar text, then strict validation of that text against [`SCHEMA`].

use std::sync::LazyLock;

use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use errors::ErrorCode;

use crate::{
    grant::{
        Class, Effect, GrantSpec, GrantedAction, MAX_ACTIONS, MAX_NAME_BYTES, MAX_NAMES, NameSelector,
        ToolSelector,
    },
    text,
    uri::UriPattern,
};

/// What policies may speak about, in Cedar's schema language.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// Bytes in the text of one policy.
pub const MAX_TEXT_BYTES: usize = 131_072;

/// A grant as the snapshot carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledPolicy {
    /// `gr_…` of the grant.
    pub id: String,
    /// One Cedar policy, printable ASCII.
    pub text: String,
}

/// A place in a grant that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantFault {
    /// JSON pointer into the grant: `/actions/0/tools/names/2`.
    pub pointer: String,
    /// What is wrong, for the administrator.
    pub message: &'static str,
}

/// A grant that cannot be accepted; every fault that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the grant cannot be compiled ({} faults)", faults.len())]
pub struct GrantError {
    /// At least one.
    pub faults: Vec<GrantFault>,
}

impl GrantError {
    /// The catalogue's code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::ConfigRejected
    }

    fn one(message: &'static str) -> Self {
        Self::at("/actions", message)
    }

    fn at(pointer: &str, message: &'static str) -> Self {
        Self { faults: vec![GrantFault { pointer: pointer.to_owned(), message }] }
    }
}

/// Compiles a grant to Cedar.
///
/// # Errors
/// A bound is broken, a class grant permits unclassified tools, a pattern is malformed, or the policy does not pass strict
/// validation.
pub fn compile_grant(spec: &GrantSpec) -> Result<CompiledPolicy, GrantError> {
    validate_actions(spec.effect, &spec.actions)?;
    if spec.effect == Effect::Forbid && spec.scope.is_some() {
        return Err(GrantError::at("/scope", "a forbid counts whatever scopes a token has"));
    }
    let text = text::policy(spec).map_err(|_| GrantError::one("a URI pattern is malformed"))?;
    if text.len() > MAX_TEXT_BYTES {
        return Err(GrantError::one("is too large when compiled; split the grant"));
    }
    let id = spec.id.to_string();
    let policy = Policy::parse(Some(PolicyId::new(&id)), &text)
        .map_err(|_| GrantError::one("does not compile to a valid policy"))?;
    let set = PolicySet::from_policies([policy])
        .map_err(|_| GrantError::one("does not compile to a valid policy"))?;
    let Some(validator) = &*VALIDATOR else {
        return Err(GrantError::one("cannot be validated: the policy schema is broken"));
    };
    if !validator.validate(&set, ValidationMode::Strict).validation_passed() {
        return Err(GrantError::one("does not pass strict validation"));
    }
    Ok(CompiledPolicy { id, text })
}

/// Checks the bounds of a grant's actions.
///
/// # Errors
/// All faults found, each with its place.
pub fn validate_actions(effect: Effect, actions: &[GrantedAction]) -> Result<(), GrantError> {
    let mut faults = Faults(Vec::new());
    if actions.is_empty() || actions.len() > MAX_ACTIONS {
        faults.push("/actions".to_owned(), "must list 1 to 16 actions");
    }
    for (place, action) in actions.iter().enumerate() {
        let at = format!("/actions/{place}");
        match action {
            GrantedAction::CallTool { tools: ToolSelector::Names(names), .. } => {
                faults.names(&format!("{at}/tools/names"), names);
            }
            GrantedAction::CallTool { tools: ToolSelector::Classes(classes), .. } => {
                faults.classes(&format!("{at}/tools/classes"), effect, classes);
            }
            GrantedAction::GetPrompt { prompts: NameSelector::Names(names), .. } => {
                faults.names(&format!("{at}/prompts/names"), names);
            }
            GrantedAction::ReadResource { uris, .. } | GrantedAction::Subscribe { uris, .. } => {
                faults.uris(&format!("{at}/uris"), uris);
            }
            GrantedAction::GetPrompt { prompts: NameSelector::All, .. }
            | GrantedAction::Complete { .. }
            | GrantedAction::UseTasks { .. } => {}
        }
    }
    if faults.0.is_empty() { Ok(()) } else { Err(GrantError { faults: faults.0 }) }
}

struct Faults(Vec<GrantFault>);

impl Faults {
    fn push(&mut self, pointer: String, message: &'static str) {
        self.0.push(GrantFault { pointer, message });
    }

    fn count(&mut self, at: &str, count: usize) {
        if count == 0 || count > MAX_NAMES {
            self.push(at.to_owned(), "must list 1 to 256 values");
        }
    }

    fn names(&mut self, at: &str, names: &[String]) {
        self.count(at, names.len());
        for (place, name) in names.iter().enumerate().take(MAX_NAMES) {
            if name.is_empty() || name.len() > MAX_NAME_BYTES {
                self.push(format!("{at}/{place}"), "must have 1 to 256 bytes");
            }
        }
    }

    fn classes(&mut self, at: &str, effect: Effect, classes: &[Class]) {
        self.count(at, classes.len());
        for (place, class) in classes.iter().enumerate().take(MAX_NAMES) {
            if effect == Effect::Permit && *class == Class::Unclassified {
                self.push(
                    format!("{at}/{place}"),
                    "an unclassified tool can be granted only by its name; classify it, or name it",
                );
            }
        }
    }

    fn uris(&mut self, at: &str, uris: &[String]) {
        self.count(at, uris.len());
        for (place, uri) in uris.iter().enumerate().take(MAX_NAMES) {
            match UriPattern::parse(uri) {
                Ok(_) => {}
                Err(crate::PatternError::Length) => {
                    self.push(format!("{at}/{place}"), "must have 1 to 2048 bytes")
                }
                Err(crate::PatternError::Escape) => {
                    self.push(format!("{at}/{place}"), "a backslash must be followed by `*` or a backslash");
                }
            }
        }
    }
}

/// `None` only if the schema above does not parse, which a test excludes.
static VALIDATOR: LazyLock<Option<Validator>> =
    LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA).ok().map(|(schema, _)| Validator::new(schema)));
