//! Moves a rollout on, or back. Every replica does so; the row's lock sees to it that each step is made once.

use ids::ProxyId;
use seams::Timestamp;

use super::{
    gate::{self, Look, Member, Verdict},
    patience::Patience,
    queries,
    rollout::{self, Rollout},
};
use crate::{
    app::Core,
    audit::{Act, Actor, ending::Ending},
    db::StoreError,
    publish::hub::Hub,
};

/// Looks after each poll that finds a revision on its way.
pub fn start(core: &Core, hub: &Hub) {
    let (core, mut polls, aims) = (core.clone(), hub.polls(), hub.aims());
    let tasks = core.tasks.clone();
    tasks.spawn("global rollout", async move {
        let stopping = core.tasks.stopping();
        let mut patience = Patience::default();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                polled = polls.changed() => if polled.is_err() {
                    return;
                },
            }
            if !aims.borrow().is_rolling {
                continue;
            }
            if let Err(error) = step(&core, &mut patience).await {
                tracing::warn!(error.cause = %error, "rollout of the fleet's configuration cannot be looked at");
            }
        }
    });
}

/// One look.
async fn step(core: &Core, patience: &mut Patience) -> Result<(), StoreError> {
    let now = core.clock.now();
    let mut tx = core.store.operator().await?;
    let mut rollout = queries::lock(&mut tx).await?;
    if rollout.state != super::State::Rolling {
        return Ok(());
    }
    let fleet = queries::fleet(&mut tx, now).await?;
    let (stage, target) = (rollout.stage, rollout.target_rev);
    patience.look(&stage, target, &fleet, core.clock.monotonic());
    let look = Look {
        stage: &stage,
        target,
        bounds_connections: rollout::bounds_connections(&mut tx, &rollout).await?,
        soak: rollout.soak,
        fleet: &fleet,
        patience,
        now,
    };
    match gate::judge(look) {
        Verdict::Wait => {
            if let Some(first) = wants_first(&rollout, &fleet) {
                rollout.stage.first = Some(first);
                queries::store(&mut tx, &rollout).await?;
                return rollout::commit(tx, core, &act("choose_first_proxy", format!("{target} {first}")))
                    .await;
            }
            Ok(())
        }
        Verdict::Held => {
            rollout::promote(&mut tx, &mut rollout, now).await?;
            let how_far = format!("{target} {} % {}", rollout.stage.percent, rollout.state.name());
            tracing::info!(
                portcullis.config.rev = target,
                percent = rollout.stage.percent,
                state = rollout.state.name(),
                "the fleet's configuration goes on"
            );
            rollout::commit(tx, core, &act("advance_global_rollout", how_far)).await
        }
        Verdict::Failed(reason) => back(core, tx, rollout, reason, now).await,
    }
}

async fn back(
    core: &Core,
    mut tx: crate::db::OperatorTx,
    mut rollout: Rollout,
    reason: String,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (failed, percent) = (rollout.target_rev, rollout.stage.percent);
    rollout::roll_back(&mut tx, &mut rollout, reason.clone(), Actor::System, now).await?;
    tracing::error!(
        portcullis.config.rev = failed,
        percent,
        reason,
        "the fleet's configuration failed and was taken back"
    );
    rollout::commit(tx, core, &act("roll_back_global", format!("{failed} {reason}"))).await
}

/// Another first proxy, where nobody who lives is in the stage, and nobody of it has the revision. One that went away before it
/// answered may have died of it: it is waited for, and no other one is tried.
fn wants_first(rollout: &Rollout, fleet: &[Member]) -> Option<ProxyId> {
    let tries = |member: &Member| {
        let is_first = rollout.stage.first == Some(member.proxy);
        let in_stage = rollout.stage.has(member.proxy) && member.takes_global;
        in_stage && (is_first || member.live || member.rev == rollout.target_rev)
    };
    if fleet.iter().any(tries) { None } else { rollout::first_of(fleet) }
}

fn act(operation: &'static str, target: String) -> Act {
    Act { actor: Actor::System, operation, target, address: None, request_id: None, ending: Ending::Commit }
}
