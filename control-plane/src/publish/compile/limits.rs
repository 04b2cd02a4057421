//! Limits, and what is limited where nothing is said.

use std::collections::HashSet;

use ids::LimitId;

use super::{
    super::{
        encode,
        rows::{LimitRow, TenantRows},
        subject::LimitSubject,
    },
    DEFAULT_CLIENT_LIMIT, Work,
};

impl<'a> Work<'a> {
    /// What is not published has nothing that could be limited.
    pub(super) fn limits(&mut self) {
        let rows: &'a TenantRows = self.rows;
        let published: HashSet<&str> = self.resources.iter().map(|resource| resource.id.as_str()).collect();
        let (live, inert): (Vec<_>, Vec<_>) = rows
            .limits
            .iter()
            .map(|row| (row, row.subject.name().filter(|name| !published.contains(name.as_str()))))
            .partition(|(_, missing)| missing.is_none());
        self.resources.extend(live.into_iter().map(|(row, _)| encode::limit(row)));
        for (row, missing) in inert {
            self.finding(row.id, format!("is inert: {} is not published", missing.unwrap_or_default()));
        }
        let every_client = rows.limits.iter().any(|row| row.subject == LimitSubject::EveryClient);
        if !every_client {
            let (per_minute, burst, concurrency) = DEFAULT_CLIENT_LIMIT;
            // The default has no row of its own; the tenant's number makes it an id that cannot be another limit's.
            let id = LimitId::from_uuid(rows.tenant.id.uuid());
            let subject = LimitSubject::EveryClient;
            let row = LimitRow { id, subject, per_minute, burst, concurrency, per_day: 0, per_month: 0 };
            self.resources.push(encode::limit(&row));
        }
    }
}
