//! Facts about who and what, prepared once in Cedar's own form so that deciding does not build them again.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr,
    sync::LazyLock,
};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use ids::{ClientId, Id, Kind, MemberId, RoleId, ToolId, UpstreamId, Uuid};

use crate::{grant::Action, grant::Class, uri};

/// Who wants to do something: a client or a member, with the roles. Prepare it once for each of a snapshot.
#[derive(Debug, Clone)]
pub struct Principal {
    pub(crate) entity: Entity,
    pub(crate) uid: EntityUid,
    /// Its own and its roles' ids, sorted: the subjects whose policies can bear on it.
    pub(crate) subjects: Box<[Uuid]>,
}

impl Principal {
    /// A client and its roles.
    #[must_use]
    pub fn new(client: ClientId, roles: impl IntoIterator<Item = RoleId>) -> Self {
        Self::of(&TYPES.client, client, roles)
    }

    /// A member and the roles that its agents have.
    #[must_use]
    pub fn member(member: MemberId, roles: impl IntoIterator<Item = RoleId>) -> Self {
        Self::of(&TYPES.user, member, roles)
    }

    fn of<K: Kind>(kind: &EntityTypeName, id: Id<K>, roles: impl IntoIterator<Item = RoleId>) -> Self {
        let roles: Vec<RoleId> = roles.into_iter().collect();
        let uid = uid(kind, &id.to_string());
        let parents = roles.iter().map(|role| self::uid(&TYPES.role, &role.to_string())).collect();
        let mut subjects: Vec<Uuid> = roles.iter().map(|role| role.uuid()).collect();
        subjects.push(id.uuid());
        subjects.sort_unstable();
        subjects.dedup();
        Self { entity: Entity::new_no_attrs(uid.clone(), parents), uid, subjects: subjects.into() }
    }

    /// The ids of the subjects it stands for, sorted.
    #[must_use]
    pub fn subjects(&self) -> &[Uuid] {
        &self.subjects
    }
}

/// What somebody wants to use. Prepare a tool once for each snapshot.
#[derive(Debug, Clone)]
pub struct Resource {
    /// `None` where Cedar refused to hold the facts: every decision about it is then an error.
    pub(crate) entity: Option<Entity>,
    pub(crate) uid: EntityUid,
}

impl Resource {
    /// A tool, by the upstream's own name.
    #[must_use]
    pub fn tool<S: AsRef<str>>(
        id: ToolId,
        upstream: UpstreamId,
        name: &str,
        class: Class,
        labels: impl IntoIterator<Item = S>,
    ) -> Self {
        let labels =
            labels.into_iter().map(|label| RestrictedExpression::new_string(label.as_ref().to_owned()));
        let facts = HashMap::from([
            ("name".to_owned(), RestrictedExpression::new_string(name.to_owned())),
            ("class".to_owned(), RestrictedExpression::new_entity_uid(uid(&TYPES.class, class.name()))),
            ("labels".to_owned(), RestrictedExpression::new_set(labels)),
        ]);
        Self::new(uid(&TYPES.tool, &id.to_string()), facts, upstream)
    }

    /// A prompt, by the upstream's own name.
    #[must_use]
    pub fn prompt(upstream: UpstreamId, name: &str) -> Self {
        let facts = HashMap::from([("name".to_owned(), RestrictedExpression::new_string(name.to_owned()))]);
        Self::new(uid(&TYPES.prompt, name), facts, upstream)
    }

    /// A resource by its URI. A resource template is decided by its text, as if that were a URI.
    #[must_use]
    #[expect(clippy::self_named_constructors, reason = "the protocol calls it a resource, and so does Cedar")]
    pub fn resource(upstream: UpstreamId, uri: &str) -> Self {
        let facts = HashMap::from([
            ("uri".to_owned(), RestrictedExpression::new_string(uri.to_owned())),
            ("plain".to_owned(), RestrictedExpression::new_bool(uri::is_plain(uri))),
        ]);
        Self::new(uid(&TYPES.resource, uri), facts, upstream)
    }

    /// The upstream itself: completions and tasks are granted for all of it.
    #[must_use]
    pub fn upstream(upstream: UpstreamId) -> Self {
        let uid = uid(&TYPES.upstream, &upstream.to_string());
        Self { entity: Some(Entity::new_no_attrs(uid.clone(), HashSet::new())), uid }
    }

    fn new(uid: EntityUid, facts: HashMap<String, RestrictedExpression>, upstream: UpstreamId) -> Self {
        let parents = HashSet::from([self::uid(&TYPES.upstream, &upstream.to_string())]);
        Self { entity: Entity::new(uid.clone(), facts, parents).ok(), uid }
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

pub(crate) fn action_uid(action: Action) -> EntityUid {
    TYPES.actions[action as usize].clone()
}

struct Types {
    client: EntityTypeName,
    user: EntityTypeName,
    role: EntityTypeName,
    class: EntityTypeName,
    upstream: EntityTypeName,
    tool: EntityTypeName,
    prompt: EntityTypeName,
    resource: EntityTypeName,
    actions: [EntityUid; 6],
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "constant names; a test parses each against the schema")]
    let kind = |name: &str| EntityTypeName::from_str(name).expect("a valid entity type name");
    let action = kind("Action");
    Types {
        client: kind("Client"),
        user: kind("User"),
        role: kind("Role"),
        class: kind("Class"),
        upstream: kind("Upstream"),
        tool: kind("Tool"),
        prompt: kind("Prompt"),
        resource: kind("Resource"),
        actions: Action::ALL.map(|each| uid(&action, each.name())),
    }
});
