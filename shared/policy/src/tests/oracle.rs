//! What grants mean, said a second time in plain Rust: a loop over grants, without Cedar and without the crate's own
//! pattern reader.

use ids::{ClientId, MemberId, RoleId, Scopes};

use super::world::Target;
use crate::{Class, Effect, GrantSpec, GrantedAction, NameSelector, Subject, ToolSelector, is_plain};

/// As [`decide`] for a token that has these scopes; and which scopes would let it, if only they are missing.
pub(super) fn decide_with(
    grants: &[GrantSpec],
    asker: &(ClientId, Vec<RoleId>),
    target: &Target,
    held: &Scopes,
) -> (bool, Vec<String>, Scopes) {
    let counts =
        |grant: &&GrantSpec| grant.scope.as_ref().is_none_or(|scope| held.iter().any(|own| own == scope));
    let counting: Vec<GrantSpec> = grants.iter().filter(counts).cloned().collect();
    let (permitted, ids) = decide(&counting, asker, target);
    let (could_be, all) = decide(grants, asker, target);
    if permitted || !could_be {
        return (permitted, ids, Scopes::none());
    }
    let asking = grants.iter().filter(|grant| all.contains(&grant.id.to_string()));
    let lacking = Scopes::first(asking.filter_map(|grant| grant.scope.clone()));
    (false, all, lacking)
}

/// As [`decide`] for a member with these roles who acts through `through`: permits are the member's, forbids of both.
pub(super) fn decide_for_member(
    grants: &[GrantSpec],
    (member, roles): (MemberId, &[RoleId]),
    through: &(ClientId, Vec<RoleId>),
    target: &Target,
) -> bool {
    let holds =
        |grant: &&GrantSpec| grant.actions.iter().any(|granted| covers(grant.effect, granted, target));
    let of_member = |grant: &GrantSpec| match grant.subject {
        Subject::Role(role) => roles.contains(&role),
        Subject::Member(other) => other == member,
        Subject::Client(_) => false,
    };
    let of_client = |grant: &GrantSpec| match grant.subject {
        Subject::Role(role) => through.1.contains(&role),
        Subject::Client(other) => other == through.0,
        Subject::Member(_) => false,
    };
    let is = |grant: &GrantSpec, effect| grant.effect == effect;
    let holding: Vec<&GrantSpec> = grants.iter().filter(holds).collect();
    holding.iter().any(|grant| is(grant, Effect::Permit) && of_member(grant))
        && !holding.iter().any(|grant| is(grant, Effect::Forbid) && (of_member(grant) || of_client(grant)))
}

/// Ids of the grants that decide, and whether they permit.
pub(super) fn decide(
    grants: &[GrantSpec],
    asker: &(ClientId, Vec<RoleId>),
    target: &Target,
) -> (bool, Vec<String>) {
    let holding = |effect: Effect| -> Vec<String> {
        let mut ids: Vec<String> = grants
            .iter()
            .filter(|grant| grant.effect == effect)
            .filter(|grant| match grant.subject {
                Subject::Role(role) => asker.1.contains(&role),
                Subject::Client(client) => asker.0 == client,
                Subject::Member(_) => false,
            })
            .filter(|grant| grant.actions.iter().any(|granted| covers(effect, granted, target)))
            .map(|grant| grant.id.to_string())
            .collect();
        ids.sort();
        ids
    };
    let forbids = holding(Effect::Forbid);
    if !forbids.is_empty() {
        return (false, forbids);
    }
    let permits = holding(Effect::Permit);
    (!permits.is_empty(), permits)
}

fn covers(effect: Effect, granted: &GrantedAction, target: &Target) -> bool {
    match (granted, target) {
        (GrantedAction::CallTool { upstream: theirs, tools }, Target::Tool { upstream, name, class }) => {
            theirs == upstream
                && match tools {
                    ToolSelector::Names(names) => names.contains(name),
                    ToolSelector::Classes(classes) => {
                        classes.contains(class) && (effect == Effect::Forbid || *class != Class::Unclassified)
                    }
                }
        }
        (GrantedAction::GetPrompt { upstream: theirs, prompts }, Target::Prompt { upstream, name }) => {
            theirs == upstream
                && match prompts {
                    NameSelector::All => true,
                    NameSelector::Names(names) => names.contains(name),
                }
        }
        (
            GrantedAction::ReadResource { upstream: theirs, uris }
            | GrantedAction::Subscribe { upstream: theirs, uris },
            Target::Uri { upstream, uri, action },
        ) => {
            theirs == upstream
                && granted.action() == *action
                && uris.iter().any(|p| uri_covered(effect, p, uri))
        }
        (
            GrantedAction::Complete { upstream: theirs } | GrantedAction::UseTasks { upstream: theirs },
            Target::Whole { upstream, action },
        ) => theirs == upstream && granted.action() == *action,
        _ => false,
    }
}

fn uri_covered(effect: Effect, pattern: &str, uri: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let uri_chars: Vec<char> = uri.chars().collect();
    let matches = glob(&pattern, &uri_chars);
    match (has_wildcard(&pattern), effect) {
        (false, _) => matches,
        (true, Effect::Permit) => matches && is_plain(uri),
        (true, Effect::Forbid) => matches || !is_plain(uri),
    }
}

fn has_wildcard(pattern: &[char]) -> bool {
    match pattern {
        [] => false,
        ['\\', _, rest @ ..] => has_wildcard(rest),
        ['*', ..] => true,
        [_, rest @ ..] => has_wildcard(rest),
    }
}

fn glob(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        (['\\', literal, rest @ ..], [first, after @ ..]) => literal == first && glob(rest, after),
        (['\\', ..], []) => false,
        (['*', rest @ ..], _) => (0..=text.len()).any(|skipped| glob(rest, &text[skipped..])),
        ([literal, rest @ ..], [first, after @ ..]) => literal == first && glob(rest, after),
        ([_, ..], []) => false,
    }
}
