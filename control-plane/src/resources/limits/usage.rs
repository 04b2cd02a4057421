//! `/v1/tenants/{tenant}/limits/{limit}/usage` and `/v1/tenants/{tenant}/clients/{client}/usage`: what is left right now.

use ids::{ClientId, LimitId};
use limits::{
    Rate,
    budget::{Budget, Window},
    shared::{Of, Reading},
};
use redis_link::counters::{Counter, CounterKey, Counters, Subject};
use seams::Timestamp;

use super::{
    queries,
    types::{BudgetUsage, CountedBy, LimitSettings, RateUsage, Usage},
};
use crate::{
    http::prelude::*,
    publish::{compile::DEFAULT_CLIENT_LIMIT, subject::LimitSubject},
};

/// How much of a limit is used now. The limit of `every_client` is counted for each: ask for a client's usage.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/limits/{limit}/usage", operation_id = "get_limit_usage", tag = "limits",
    params(TenantPath, ("limit" = String, Path, description = "Id (`lim_…`)")),
    responses((status = 200, description = "What is left", body = Usage), Problems),
    security(("token" = ["limits:read"])))]
pub async fn of_limit(
    caller: InTenant<LimitsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<LimitId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    let limit = queries::get(&mut tx, id).await?;
    drop(tx);
    let subject = match limit.subject {
        LimitSubject::Tenant => Subject::Tenant,
        LimitSubject::Client(id) => Subject::Client(id),
        LimitSubject::Tool(id) => Subject::Tool(id),
        LimitSubject::Endpoint(id) => Subject::Endpoint(id),
        LimitSubject::Member(id) => Subject::Member(id),
        LimitSubject::Key(id) => Subject::Key(id),
        LimitSubject::EveryClient => {
            return Err(ApiError::Conflict("each client has counters of its own; ask for a client's usage"));
        }
        LimitSubject::EveryMember => {
            return Err(ApiError::Conflict(
                "each member has counters of its own; give one a limit to see them",
            ));
        }
    };
    Reply::resource(&usage(&core, caller.tenant, subject, &limit.settings).await?)
}

/// How much a client has used of the limit that applies to it: its own, or that of every client.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/clients/{client}/usage", operation_id = "get_client_usage",
    tag = "limits", params(TenantPath, ("client" = String, Path, description = "Id (`cl_…`)")),
    responses((status = 200, description = "What is left", body = Usage), Problems),
    security(("token" = ["limits:read"])))]
pub async fn of_client(
    caller: InTenant<LimitsRead>,
    State(core): State<Core>,
    OfPath(id): OfPath<ClientId>,
) -> Result<Reply, ApiError> {
    let mut tx = core.store.tenant(caller.tenant).await?;
    if !queries::subject_exists(&mut tx, LimitSubject::Client(id)).await? {
        return Err(ApiError::NotFound);
    }
    let (per_minute, burst, concurrency) = DEFAULT_CLIENT_LIMIT;
    let default = LimitSettings { per_minute, burst, concurrency, per_day: 0, per_month: 0 };
    let settings = queries::of_client(&mut tx, id).await?.unwrap_or(default);
    drop(tx);
    Reply::resource(&usage(&core, caller.tenant, Subject::Client(id), &settings).await?)
}

async fn usage(
    core: &Core,
    tenant: ids::TenantId,
    subject: Subject,
    settings: &LimitSettings,
) -> Result<Usage, ApiError> {
    let Some(link) = &core.redis else { return Ok(Usage::by_proxy()) };
    let rate = Rate { per_minute: settings.per_minute, burst: settings.burst };
    let budget = |window, units| Of::Budget(Budget { window, units });
    let counters = [
        Some((Counter::Calls, Of::Rate(rate.storable()))),
        // A tool is only ever called.
        (!matches!(subject, Subject::Tool(_)))
            .then(|| (Counter::Protocol, Of::Rate(rate.protocol().storable()))),
        (settings.per_day > 0).then(|| (Counter::Day, budget(Window::Day, settings.per_day))),
        (settings.per_month > 0).then(|| (Counter::Month, budget(Window::Month, settings.per_month))),
    ];
    let wanted: Vec<_> = counters
        .into_iter()
        .flatten()
        .map(|(counter, of)| (CounterKey { tenant, subject, counter }, of))
        .collect();
    let readings = Counters::new(link.clone()).look(&wanted).await.map_err(ApiError::Counters)?;
    let mut usage = Usage { counted: CountedBy::Together, ..Usage::by_proxy() };
    for ((key, of), reading) in wanted.iter().zip(readings) {
        match (key.counter, *of) {
            (Counter::Calls, Of::Rate(rate)) => usage.calls = Some(rate_usage(rate, reading)),
            (Counter::Protocol, Of::Rate(rate)) => usage.requests = Some(rate_usage(rate, reading)),
            (Counter::Day, Of::Budget(budget)) => usage.day = Some(budget_usage(budget, reading)),
            (Counter::Month, Of::Budget(budget)) => usage.month = Some(budget_usage(budget, reading)),
            (_, Of::Rate(_) | Of::Budget(_)) => {}
        }
    }
    Ok(usage)
}

fn rate_usage(rate: Rate, reading: Reading) -> RateUsage {
    let Rate { per_minute, burst } = rate;
    let full_after_ms = reading.taken.div_ceil(1_000_000);
    RateUsage { per_minute, burst, remaining: reading.remaining(Of::Rate(rate)), full_after_ms }
}

fn budget_usage(budget: Budget, reading: Reading) -> BudgetUsage {
    BudgetUsage {
        units: budget.units,
        used: reading.taken,
        remaining: reading.remaining(Of::Budget(budget)),
        ends_at: Timestamp::from_secs(budget.window.ends(reading.now)).to_offset(),
    }
}
