//! Cedar text for a grant. All text of the tenant goes through [`string`] or [`pattern`], which leave only printable
//! ASCII: what a reviewer sees is what the parser reads.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::{
    grant::{Class, Effect, GrantSpec, GrantedAction, NameSelector, Subject, ToolSelector},
    uri::{Part, PatternError, UriPattern},
};

/// The policy of a grant whose bounds have been checked.
pub(crate) fn policy(spec: &GrantSpec) -> Result<String, PatternError> {
    let effect = match spec.effect {
        Effect::Permit => "permit",
        Effect::Forbid => "forbid",
    };
    let principal = match spec.subject {
        Subject::Role(id) => format!("principal in Role::{}", string(&id.to_string())),
        Subject::Client(id) => format!("principal == Client::{}", string(&id.to_string())),
        Subject::Member(id) => format!("principal == User::{}", string(&id.to_string())),
    };
    let names: BTreeSet<&str> = spec.actions.iter().map(|action| action.action().name()).collect();
    let one_kind = names.len() == 1;
    let literals: Vec<String> = names.iter().map(|name| action_literal(name)).collect();
    let action = if one_kind {
        format!("action == {}", literals.concat())
    } else {
        format!("action in [{}]", literals.join(", "))
    };

    // Twice: as what Cedar decides by, and as what says which scope a caller lacks.
    let (note, scope) = spec.scope.as_ref().map_or_else(Default::default, |scope| {
        let scope = string(scope.as_str());
        (format!("@scope({scope})\n"), format!("when {{ context.scopes.contains({scope}) }}\n"))
    });
    let mut text = format!("{note}{effect} ({principal}, {action}, resource)\n{scope}when {{\n");
    for (place, granted) in spec.actions.iter().enumerate() {
        text.push_str(if place == 0 { "  (" } else { " ||\n  (" });
        if !one_kind {
            let _ = write!(text, "action == {} && ", action_literal(granted.action().name()));
        }
        text.push_str(&condition(spec.effect, granted)?);
        text.push(')');
    }
    text.push_str("\n};\n");
    Ok(text)
}

fn condition(effect: Effect, granted: &GrantedAction) -> Result<String, PatternError> {
    // `in` is reflexive: it also holds where the resource is the upstream itself.
    let mut text = format!("resource in Upstream::{}", string(&granted.upstream().to_string()));
    match granted {
        GrantedAction::CallTool { tools: ToolSelector::Names(names), .. }
        | GrantedAction::GetPrompt { prompts: NameSelector::Names(names), .. } => {
            let _ = write!(text, " && {}", one_of(names, "name"));
        }
        GrantedAction::CallTool { tools: ToolSelector::Classes(classes), .. } => {
            let classes: BTreeSet<Class> = classes.iter().copied().collect();
            let literals: Vec<String> =
                classes.into_iter().map(|class| format!("Class::{}", string(class.name()))).collect();
            let _ = write!(text, " && [{}].contains(resource.class)", literals.join(", "));
        }
        GrantedAction::ReadResource { uris, .. } | GrantedAction::Subscribe { uris, .. } => {
            let _ = write!(text, " && ({})", uri_condition(effect, uris)?);
        }
        GrantedAction::GetPrompt { prompts: NameSelector::All, .. }
        | GrantedAction::Complete { .. }
        | GrantedAction::UseTasks { .. } => {}
    }
    Ok(text)
}

fn uri_condition(effect: Effect, uris: &[String]) -> Result<String, PatternError> {
    let mut literal = BTreeSet::new();
    let mut wild = BTreeSet::new();
    for uri in uris {
        let parsed = UriPattern::parse(uri)?;
        match parsed.literal() {
            Some(text) => literal.insert(text),
            None => wild.insert(format!("resource.uri like {}", pattern(&parsed))),
        };
    }
    let mut alternatives = Vec::new();
    if !literal.is_empty() {
        alternatives.push(one_of(literal.iter(), "uri"));
    }
    if !wild.is_empty() {
        let wild = wild.into_iter().collect::<Vec<_>>().join(" || ");
        alternatives.push(match effect {
            Effect::Permit => format!("(resource.plain && ({wild}))"),
            Effect::Forbid => format!("!resource.plain || {wild}"),
        });
    }
    Ok(alternatives.join(" || "))
}

fn one_of<S: AsRef<str>>(values: impl IntoIterator<Item = S>, attribute: &str) -> String {
    let distinct: BTreeSet<String> = values.into_iter().map(|value| string(value.as_ref())).collect();
    match (distinct.len(), distinct.first()) {
        (1, Some(only)) => format!("resource.{attribute} == {only}"),
        _ => format!(
            "[{}].contains(resource.{attribute})",
            distinct.into_iter().collect::<Vec<_>>().join(", ")
        ),
    }
}

fn action_literal(name: &str) -> String {
    format!("Action::{}", string(name))
}

/// A Cedar string literal.
pub(crate) fn string(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    value.chars().for_each(|c| push_char(&mut out, c));
    out.push('"');
    out
}

/// A Cedar pattern literal. An escape such as `\u{2a}` would be a wildcard there: only `\*` is a star.
pub(crate) fn pattern(pattern: &UriPattern) -> String {
    let mut out = String::from("\"");
    for part in pattern.parts() {
        match part {
            Part::Any => out.push('*'),
            Part::Char('*') => out.push_str("\\*"),
            Part::Char(c) => push_char(&mut out, *c),
        }
    }
    out.push('"');
    out
}

fn push_char(out: &mut String, c: char) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        ' '..='~' => out.push(c),
        other => {
            let _ = write!(out, "\\u{{{:x}}}", other as u32);
        }
    }
}
