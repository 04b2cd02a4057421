//! Moves a rollout on, or back. Every replica does so; the row's lock sees to it that each step is made once.

use ids::ProxyId;
use seams::Timestamp;

use super::{
    gate::{self, Member, Verdict},
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
            if let Err(error) = step(&core).await {
                tracing::warn!(error.cause = %error, "rollout of the fleet's configuration cannot be looked at");
            }
        }
    });
}

/// One look.
///
/// # Errors
/// [`StoreError`].
pub async fn step(core: &Core) -> Result<(), StoreError> {
    let now = core.clock.now();
    let mut tx = core.store.operator().await?;
    let mut rollout = queries::lock(&mut tx).await?;
    if rollout.state != super::State::Rolling {
        return Ok(());
    }
    let fleet = queries::fleet(&mut tx, now).await?;
    let (stage, target) = (rollout.stage, rollout.target_rev);
    match gate::judge(&stage, target, rollout.soak, &fleet, now) {
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

/// Another first proxy, where nobody who lives is in the stage, and nobody of it has the revision: one that applied it and is
/// away may have died of it.
fn wants_first(rollout: &Rollout, fleet: &[Member]) -> Option<ProxyId> {
    let is_tried = fleet
        .iter()
        .any(|member| rollout.stage.has(member.proxy) && (member.live || member.rev == rollout.target_rev));
    if is_tried { None } else { rollout::first_of(fleet) }
}

fn act(operation: &'static str, target: String) -> Act {
    Act { actor: Actor::System, operation, target, address: None, request_id: None, ending: Ending::Commit }
}
