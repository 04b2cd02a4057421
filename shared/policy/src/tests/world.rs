//! A small world in which grants and requests often meet, with names that try to break out of a literal.

use ids::{ClientId, GrantId, MemberId, RoleId, Scope, Scopes, ToolId, UpstreamId, Uuid};
use proptest::prelude::*;

use crate::{
    Action, Class, Effect, GrantSpec, GrantedAction, NameSelector, PolicyIndex, Principal, Resource, Slicer,
    Slices, Subject, SubjectGrants, ToolSelector, compile_grant,
};

pub(super) fn upstream(n: u8) -> UpstreamId {
    UpstreamId::from_parts(1, [n; 10])
}
pub(super) fn role(n: u8) -> RoleId {
    RoleId::from_parts(2, [n; 10])
}
pub(super) fn client(n: u8) -> ClientId {
    ClientId::from_parts(3, [n; 10])
}
pub(super) fn member(n: u8) -> MemberId {
    MemberId::from_parts(6, [n; 10])
}
pub(super) fn grant_id(n: u8) -> GrantId {
    GrantId::from_parts(4, [n; 10])
}
pub(super) fn tool_id(n: u8) -> ToolId {
    ToolId::from_parts(5, [n; 10])
}

/// What a request is about, without Cedar.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Tool { upstream: UpstreamId, name: String, class: Class },
    Prompt { upstream: UpstreamId, name: String },
    Uri { upstream: UpstreamId, uri: String, action: Action },
    Whole { upstream: UpstreamId, action: Action },
}

impl Target {
    pub(super) fn action(&self) -> Action {
        match self {
            Self::Tool { .. } => Action::CallTool,
            Self::Prompt { .. } => Action::GetPrompt,
            Self::Uri { action, .. } | Self::Whole { action, .. } => *action,
        }
    }

    pub(super) fn resource(&self) -> Resource {
        match self {
            Self::Tool { upstream, name, class } => {
                Resource::tool(tool_id(0), *upstream, name, *class, ["network", "exec"])
            }
            Self::Prompt { upstream, name } => Resource::prompt(*upstream, name),
            Self::Uri { upstream, uri, .. } => Resource::resource(*upstream, uri),
            Self::Whole { upstream, .. } => Resource::upstream(*upstream),
        }
    }

    /// Slices as the publisher cuts them.
    pub(super) fn slices(&self, grants: &[GrantSpec], index: &PolicyIndex) -> Slices {
        let slicer = Slicer::new(grants);
        let none = SubjectGrants::new();
        let cut = match self {
            Self::Tool { upstream, name, class } => slicer.tool(*upstream, name, *class),
            Self::Prompt { upstream, .. } => {
                slicer.methods().get(&(Action::GetPrompt, *upstream)).unwrap_or(&none).clone()
            }
            Self::Uri { upstream, action, .. } | Self::Whole { upstream, action } => {
                slicer.methods().get(&(*action, *upstream)).unwrap_or(&none).clone()
            }
        };
        Slices::new(cut.into_iter().map(|(subject, grants)| {
            (subject, grants.iter().map(|grant| index.find(&grant.to_string()).unwrap()).collect::<Vec<_>>())
        }))
    }
}

pub(super) fn index(grants: &[GrantSpec]) -> PolicyIndex {
    PolicyIndex::new(grants.iter().map(|grant| {
        let policy = compile_grant(grant).unwrap();
        (policy.id, policy.text)
    }))
}

pub(super) fn name() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        4 => prop::sample::select(vec![
            "a", "b", "a*", "*", "a\"", "a\\", "\\", "a\\\"", "a\\*", "\\u{2a}", "ä", "a\u{202e}b", "a\u{0}", "a\nb", "",
            "\"]).contains(\"x\") || true || ([\"", "a\") || true //", "\u{1f600}", "a b", "A", "?principal",
        ])
        .prop_filter("names are not empty", |name| !name.is_empty())
        .prop_map(str::to_owned),
        1 => "[a*\"\\\\b]{1,4}",
        1 => "\\PC{1,6}",
    ]
}

pub(super) fn uri() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "file:///a/b", "file:///a/*", "file:///a/../b", "file:///a/%2e%2e/b", "FILE:///a/b", "file:///b", "x://a*b",
            "x://a\"b", "x://a\\b", "file:///a", "file:///a/", "x://ä",
        ])
        .prop_map(str::to_owned),
        1 => "[abx:/*.]{1,6}",
        1 => name(),
    ]
}

pub(super) fn pattern() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        3 => prop::sample::select(vec![
            "*", "file:///a/*", "file:///a/b", "x://a\\*b", "x://*", "*b", "x://a\"b", "x://a\\\\b", "*://a*", "x://ä*",
            "file:///a/../*", "file:///a/*/*",
        ])
        .prop_map(str::to_owned),
        1 => "[abx:/*.]{1,6}",
    ]
}

pub(super) fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(vec![Class::Read, Class::Write, Class::Destructive, Class::Unclassified])
}

fn granted() -> impl Strategy<Value = GrantedAction> {
    let of = (0u8..2).prop_map(upstream);
    let names = prop::collection::vec(name(), 1..4);
    let classes = prop::collection::vec(class(), 1..3);
    let uris = prop::collection::vec(pattern(), 1..4);
    prop_oneof![
        3 => (of.clone(), names.clone())
            .prop_map(|(upstream, names)| GrantedAction::CallTool { upstream, tools: ToolSelector::Names(names) }),
        2 => (of.clone(), classes)
            .prop_map(|(upstream, classes)| GrantedAction::CallTool { upstream, tools: ToolSelector::Classes(classes) }),
        2 => (of.clone(), names)
            .prop_map(|(upstream, names)| GrantedAction::GetPrompt { upstream, prompts: NameSelector::Names(names) }),
        1 => of.clone().prop_map(|upstream| GrantedAction::GetPrompt { upstream, prompts: NameSelector::All }),
        3 => (of.clone(), uris.clone()).prop_map(|(upstream, uris)| GrantedAction::ReadResource { upstream, uris }),
        2 => (of.clone(), uris).prop_map(|(upstream, uris)| GrantedAction::Subscribe { upstream, uris }),
        1 => of.clone().prop_map(|upstream| GrantedAction::Complete { upstream }),
        1 => of.prop_map(|upstream| GrantedAction::UseTasks { upstream }),
    ]
}

pub(super) fn grants() -> impl Strategy<Value = Vec<GrantSpec>> {
    let subject = prop_oneof![
        3 => (0u8..3).prop_map(|n| Subject::Role(role(n))),
        1 => (0u8..2).prop_map(|n| Subject::Client(client(n))),
        1 => (0u8..2).prop_map(|n| Subject::Member(member(n))),
    ];
    let effect = prop_oneof![4 => Just(Effect::Permit), 1 => Just(Effect::Forbid)];
    let actions = prop::collection::vec(granted(), 1..4);
    prop::collection::vec((subject, effect, prop::option::of(scope()), actions), 0..6).prop_map(|drafts| {
        drafts
            .into_iter()
            .zip(0u8..)
            .map(|((subject, effect, scope, mut actions), n)| {
                let scope = scope.filter(|_| effect == Effect::Permit);
                if effect == Effect::Permit {
                    for action in &mut actions {
                        if let GrantedAction::CallTool { tools: ToolSelector::Classes(classes), .. } = action
                        {
                            classes.retain(|class| *class != Class::Unclassified);
                            classes.push(Class::Read);
                        }
                    }
                }
                GrantSpec { id: grant_id(n), subject, effect, scope, actions }
            })
            .collect()
    })
}

/// Names that would break out of a literal, if anything could.
pub(super) fn scope() -> impl Strategy<Value = Scope> + Clone {
    prop::sample::select(vec!["a", "files:read", "!')||true", "*"]).prop_map(|name| name.parse().unwrap())
}

/// What somebody's token has.
pub(super) fn held() -> impl Strategy<Value = Scopes> {
    prop::collection::vec(scope(), 0..4).prop_map(Scopes::first)
}

pub(super) fn target() -> impl Strategy<Value = Target> {
    let of = (0u8..2).prop_map(upstream);
    prop_oneof![
        4 => (of.clone(), name(), class()).prop_map(|(upstream, name, class)| Target::Tool { upstream, name, class }),
        2 => (of.clone(), name()).prop_map(|(upstream, name)| Target::Prompt { upstream, name }),
        4 => (of.clone(), uri(), prop::sample::select(vec![Action::ReadResource, Action::Subscribe]))
            .prop_map(|(upstream, uri, action)| Target::Uri { upstream, uri, action }),
        1 => (of, prop::sample::select(vec![Action::Complete, Action::UseTasks]))
            .prop_map(|(upstream, action)| Target::Whole { upstream, action }),
    ]
}

/// Who asks: a client and its roles.
pub(super) fn asker() -> impl Strategy<Value = (ClientId, Vec<RoleId>)> {
    ((0u8..2).prop_map(client), prop::collection::btree_set((0u8..3).prop_map(role), 0..3))
        .prop_map(|(client, roles)| (client, roles.into_iter().collect()))
}

pub(super) fn principal((client, roles): &(ClientId, Vec<RoleId>)) -> Principal {
    Principal::new(*client, roles.iter().copied())
}

#[test]
fn roles_and_clients_share_one_number_space() {
    let subjects: Vec<Uuid> = principal(&(client(0), vec![role(1), role(0)])).subjects().to_vec();
    let mut expected = vec![client(0).uuid(), role(0).uuid(), role(1).uuid()];
    expected.sort_unstable();
    assert_eq!(subjects, expected);
}
