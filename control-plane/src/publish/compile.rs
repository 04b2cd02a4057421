//! A tenant's rows into its snapshot, or every place that keeps them from becoming one.

mod limits;

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
};

use errors::ErrorCode;
use ids::{ClientAuthorityId, ExternalIssuerId, GrantId, UpstreamId};
use policy::{CompiledPolicy, GrantedAction, Slicer, Subject, SubjectGrants, ToolSelector};
use wire::{
    snapshot,
    v1::{Resource, TenantSnapshot},
};

use super::{
    check, encode, external, outward,
    rows::{TenantRows, ToolRow, ToolState, UpstreamRow},
};
use crate::resources::{client_authorities::types::ClientAuthority, external_issuers::types::ExternalIssuer};

/// The limit of every client where the tenant set none: 60 units a minute, all of which may be taken at once, and 32 calls in
/// flight. Published as a resource, so that a proxy has no defaults of its own.
pub const DEFAULT_CLIENT_LIMIT: (u32, u32, u32) = (60, 60, 32);

/// A snapshot ready to be stored and pushed.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The snapshot.
    pub snapshot: TenantSnapshot,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: [u8; 32],
    /// What is published but has no effect, and what was left out.
    pub findings: Vec<Finding>,
}

/// Something an administrator should know that does not keep the configuration from being published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Typed id of the resource it is about.
    pub resource: String,
    /// What is inert or left out, and why.
    pub message: String,
}

/// One place that keeps a configuration from being published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Typed id of the resource, `tenant`, `methods` or `snapshot`.
    pub resource: String,
    /// JSON pointer into the resource; empty for all of it.
    pub pointer: String,
    /// What is wrong, for the administrator.
    pub message: Cow<'static, str>,
}

/// Why rows do not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration does not compile ({} faults)", faults.len())]
pub struct CompileError {
    /// At least one.
    pub faults: Vec<Fault>,
}

impl CompileError {
    /// The catalogue's code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::ConfigRejected
    }
}

/// Compiles. Equal rows give equal bytes, in whatever order they come.
///
/// # Errors
/// All faults that were found; the snapshot's own validator names one at a time.
pub fn compile(rows: &TenantRows, rev: u64) -> Result<Compiled, CompileError> {
    let mut work = Work { rows, resources: Vec::new(), faults: Vec::new(), findings: BTreeSet::new() };
    let tools = work.published_tools();
    work.tenant();
    work.endpoints();
    work.domains();
    work.issuer();
    work.external_issuers();
    work.assertions();
    work.upstreams();
    work.clients_and_keys();
    work.members();
    work.grants(&tools);
    work.limits();
    let Work { mut resources, faults, findings, .. } = work;
    if !faults.is_empty() {
        return Err(CompileError { faults });
    }
    resources.sort_by(|a, b| a.id.cmp(&b.id));
    let snapshot =
        TenantSnapshot { schema: snapshot::SCHEMA, tenant_id: encode::raw(rows.tenant.id), rev, resources };
    snapshot::validate(&snapshot).map_err(|invalid| CompileError {
        faults: vec![Fault {
            resource: invalid.resource,
            pointer: String::new(),
            message: invalid.detail.into(),
        }],
    })?;
    let bytes = snapshot::encode(&snapshot);
    let digest = snapshot::digest(&snapshot);
    Ok(Compiled { snapshot, bytes, digest, findings: findings.into_iter().collect() })
}

struct Work<'a> {
    rows: &'a TenantRows,
    resources: Vec<Resource>,
    faults: Vec<Fault>,
    findings: BTreeSet<Finding>,
}

impl<'a> Work<'a> {
    fn fault(&mut self, resource: impl ToString, pointer: String, message: impl Into<Cow<'static, str>>) {
        self.faults.push(Fault { resource: resource.to_string(), pointer, message: message.into() });
    }

    fn finding(&mut self, resource: impl ToString, message: String) {
        self.findings.insert(Finding { resource: resource.to_string(), message });
    }

    /// Tools come from upstreams, which nobody here controls: what cannot be published is left out, so that no upstream
    /// can keep a tenant from changing its configuration.
    fn published_tools(&mut self) -> Vec<&'a ToolRow> {
        let mut kept: Vec<&ToolRow> = Vec::new();
        for tool in self.rows.tools.iter().filter(|tool| tool.state != ToolState::Retired) {
            let definition = tool.definition.as_ref().map_or(0, Vec::len);
            if tool.name.is_empty() || tool.name.len() > snapshot::MAX_NAME {
                self.finding(
                    tool.id,
                    "is not published: its name has more than 256 bytes or none".to_owned(),
                );
            } else if definition > snapshot::MAX_DEFINITION {
                self.finding(tool.id, "is not published: its definition is larger than 256 KiB".to_owned());
            } else {
                kept.push(tool);
            }
        }
        kept.sort_by_key(|tool| tool.id);
        for left_out in kept.drain(kept.len().min(snapshot::MAX_TOOLS)..) {
            self.finding(left_out.id, "is not published: the tenant has more than 10,000 tools".to_owned());
        }
        kept
    }

    fn tenant(&mut self) {
        let mut egress = Vec::new();
        for (place, rule) in self.rows.egress.iter().enumerate() {
            match check::network(&rule.network) {
                Ok(network) => egress.push((network, rule.port)),
                Err(message) => self.fault("tenant", format!("/egress/{place}/network"), message),
            }
        }
        self.resources.push(encode::tenant(&self.rows.tenant, egress));
    }

    fn endpoints(&mut self) {
        if self.rows.tenant.suspended {
            return;
        }
        for row in &self.rows.endpoints {
            let mut row = row.clone();
            let id = row.id;
            self.respell(id, "hosts", &mut row.hosts, check::host);
            self.respell(id, "allow", &mut row.allow, check::network);
            self.respell(id, "deny", &mut row.deny, check::network);
            self.respell(id, "origins", &mut row.origins, |text| {
                check::origin(text).map(|()| text.to_owned())
            });
            self.respell(id, "closed_methods", &mut row.closed_methods, |text| {
                check::closable_method(text).map(|()| text.to_owned())
            });
            if row.accepts.is_empty() {
                self.fault(id, "/accepts".to_owned(), "nobody could call it");
            }
            let here = |id: &ExternalIssuerId| self.external().any(|issuer| issuer.id == *id);
            row.external_issuers.retain(here);
            let here = |id: &ClientAuthorityId| self.authorities().any(|authority| authority.id == *id);
            row.client_authorities.retain(here);
            let attachments: Vec<_> =
                self.rows.attachments.iter().filter(|each| each.endpoint_id == id).collect();
            self.resources.push(encode::endpoint(&row, &attachments));
        }
    }

    fn domains(&mut self) {
        if !self.rows.tenant.suspended {
            self.resources.extend(self.rows.domains.iter().map(encode::domain));
        }
    }

    /// Those that are switched on.
    fn external(&self) -> impl Iterator<Item = &'a ExternalIssuer> {
        let all = self.rows.external_issuers.iter().filter(|issuer| issuer.settings.enabled);
        all.filter(|_| !self.rows.tenant.suspended)
    }

    fn authorities(&self) -> impl Iterator<Item = &'a ClientAuthority> {
        let all = self.rows.client_authorities.iter().filter(|authority| authority.settings.enabled);
        all.filter(|_| !self.rows.tenant.suspended)
    }

    fn external_issuers(&mut self) {
        let encoded: Vec<_> =
            self.external().map(|issuer| (issuer.id, external::encode(issuer, self.rows))).collect();
        let authorities = self.authorities().filter_map(external::authority);
        let authorities: Vec<_> = authorities.collect();
        self.resources.extend(authorities);
        for (id, encoded) in encoded {
            match encoded {
                Some(resource) => self.resources.push(resource),
                None => self.fault(id, "/ca_pem".to_owned(), "is not PEM"),
            }
        }
    }

    fn issuer(&mut self) {
        if !self.rows.tenant.suspended {
            let now = self.rows.as_of;
            self.resources.extend(self.rows.issuer.iter().map(|row| encode::issuer(row, now)));
        }
    }

    fn assertions(&mut self) {
        let asserted = |row: &UpstreamRow| row.enabled && row.auth.assertion.is_some();
        if self.rows.upstreams.iter().any(asserted) {
            self.resources.extend(self.rows.assertions.iter().map(outward::assertions));
        }
    }

    fn respell(
        &mut self,
        id: impl ToString + Copy,
        member: &str,
        texts: &mut [String],
        check: impl Fn(&str) -> Result<String, &'static str>,
    ) {
        for (place, text) in texts.iter_mut().enumerate() {
            match check(text) {
                Ok(canonical) => *text = canonical,
                Err(message) => self.fault(id, format!("/{member}/{place}"), message),
            }
        }
    }

    fn upstreams(&mut self) {
        for row in &self.rows.upstreams {
            if let Err(message) = check::upstream_url(&row.url) {
                self.fault(row.id, "/url".to_owned(), message);
            }
            for (place, der) in row.ca_der.iter().enumerate() {
                if let Err(message) = check::certificate(der) {
                    self.fault(row.id, format!("/tls/ca/{place}"), message);
                }
            }
            if !row.server_name.is_empty()
                && let Err(message) = check::server_name(&row.server_name)
            {
                self.fault(row.id, "/tls/server_name".to_owned(), message);
            }
            // What is not called needs no secret.
            let headers: Vec<_> =
                self.rows.headers.iter().filter(|each| row.enabled && each.upstream_id == row.id).collect();
            if let Some((pointer, message)) = row.auth.clash(&headers) {
                self.fault(row.id, pointer.to_owned(), message);
            }
            self.resources.push(encode::upstream(row, &headers));
        }
    }

    /// A key is published only while it may be used: not revoked, not ended, its client enabled, its tenant not suspended.
    fn clients_and_keys(&mut self) {
        let suspended = self.rows.tenant.suspended;
        let mut endpoints: HashMap<_, Vec<Vec<u8>>> = HashMap::new();
        for (client, endpoint) in self.rows.client_endpoints.iter().filter(|_| !suspended) {
            endpoints.entry(*client).or_default().push(encode::raw(*endpoint));
        }
        let mut roles: HashMap<_, Vec<Vec<u8>>> = HashMap::new();
        for (client, role) in &self.rows.client_roles {
            roles.entry(*client).or_default().push(encode::raw(*role));
        }
        let mut disabled = HashSet::new();
        for row in &self.rows.clients {
            if !row.enabled {
                disabled.insert(row.id);
            }
            let endpoints = endpoints.remove(&row.id).unwrap_or_default();
            let roles = roles.remove(&row.id).unwrap_or_default();
            self.resources.push(encode::client(row, endpoints, roles));
        }
        for row in &self.rows.api_keys {
            let ended = row.not_after.is_some_and(|end| end <= self.rows.as_of);
            if !(row.revoked || ended || suspended || disabled.contains(&row.client_id)) {
                let mut row = row.clone();
                self.respell(row.id, "allow", &mut row.allow, check::network);
                self.resources.push(encode::api_key(&row));
            }
        }
    }

    fn members(&mut self) {
        let mut roles: HashMap<_, Vec<Vec<u8>>> = HashMap::new();
        for (member, role) in &self.rows.member_roles {
            roles.entry(*member).or_default().push(encode::raw(*role));
        }
        for row in &self.rows.members {
            let roles = roles.remove(&row.id).unwrap_or_default();
            self.resources.push(encode::member(*row, roles));
        }
    }

    fn grants(&mut self, tools: &[&ToolRow]) {
        let mut policies: HashMap<GrantId, CompiledPolicy> = HashMap::new();
        for grant in &self.rows.grants {
            match policy::compile_grant(grant) {
                Ok(compiled) => drop(policies.insert(grant.id, compiled)),
                Err(error) => {
                    for fault in error.faults {
                        self.fault(grant.id, fault.pointer, fault.message);
                    }
                }
            }
        }
        self.stale_names(tools);

        let slicer = Slicer::new(&self.rows.grants);
        let mut used: BTreeSet<GrantId> = BTreeSet::new();
        let mut note = |grants: &SubjectGrants| used.extend(grants.values().flatten());
        for tool in tools {
            let grants = slicer.tool(tool.upstream_id, &tool.name, tool.class);
            note(&grants);
            self.resources.extend(encode::tool(tool, &grants));
        }
        let upstreams: HashSet<UpstreamId> = self.rows.upstreams.iter().map(|row| row.id).collect();
        let mut methods = Vec::new();
        for ((action, upstream), grants) in slicer.methods() {
            if let Some(action) = encode::granted_action(*action).filter(|_| upstreams.contains(upstream)) {
                note(grants);
                methods.push(encode::method_slice(action, encode::raw(*upstream), grants));
            }
        }
        self.resources.push(encode::methods(methods));
        self.resources.extend(used.iter().filter_map(|id| policies.remove(id)).map(encode::policy));
    }

    /// A name that vanished stays in its grant, has no effect, and takes effect again when it comes back.
    fn stale_names(&mut self, tools: &[&ToolRow]) {
        let names: HashSet<(UpstreamId, &str)> =
            tools.iter().map(|tool| (tool.upstream_id, &*tool.name)).collect();
        let upstreams: HashSet<UpstreamId> = self.rows.upstreams.iter().map(|row| row.id).collect();
        let rows: &'a TenantRows = self.rows;
        for grant in &rows.grants {
            let somebody = match grant.subject {
                Subject::Role(id) => rows.roles.contains(&id),
                Subject::Client(id) => rows.clients.iter().any(|client| client.id == id),
                Subject::Member(id) => rows.members.iter().any(|member| member.id == id),
            };
            if !somebody {
                self.finding(grant.id, "is inert: its role, client or member does not exist".to_owned());
            }
            for granted in &grant.actions {
                let upstream = granted.upstream();
                if !upstreams.contains(&upstream) {
                    self.finding(
                        grant.id,
                        format!("is inert where it names {upstream}, which does not exist"),
                    );
                } else if let GrantedAction::CallTool { tools: ToolSelector::Names(listed), .. } = granted {
                    for name in listed.iter().filter(|name| !names.contains(&(upstream, name.as_str()))) {
                        self.finding(
                            grant.id,
                            format!(
                                "is inert where it names the tool {name:?}, which {upstream} does not have"
                            ),
                        );
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
