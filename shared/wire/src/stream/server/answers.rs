//! What the proxy answers, and what it says that it holds.

use std::collections::BTreeMap;

use errors::ErrorCode;

use super::{CloseReason, Context, Flight, Output, RETRY, Server, Step, holding};
use crate::{
    stream::{Buckets, tenant_id, version},
    v1,
};

impl Server {
    pub(super) fn ack(&mut self, ack: &v1::Ack, out: &mut Vec<Output>) -> Step {
        let tenant = tenant_id(&ack.tenant_id).ok_or(CloseReason::ProtocolViolation)?;
        let scope = self.scopes.get_mut(&tenant).ok_or(CloseReason::ProtocolViolation)?;
        let held = match scope.flight {
            Flight::Sent { nonce, version: sent, .. } if nonce == ack.nonce => Some(
                version(ack.rev, &ack.digest)
                    .filter(|held| *held == sent)
                    .ok_or(CloseReason::ProtocolViolation)?,
            ),
            Flight::Removing { nonce } if nonce == ack.nonce => None,
            _ => return Err(CloseReason::ProtocolViolation),
        };
        self.answered += 1;
        scope.flight = Flight::None;
        scope.refused = None;
        scope.whole = false;
        self.hold(tenant, held);
        self.window.landed(tenant);
        out.push(Output::Applied(tenant, held));
        Ok(())
    }

    pub(super) fn nack(&mut self, context: Context<'_>, nack: v1::Nack, out: &mut Vec<Output>) -> Step {
        let tenant = tenant_id(&nack.tenant_id).ok_or(CloseReason::ProtocolViolation)?;
        let code = ErrorCode::from_slug(&nack.code).ok_or(CloseReason::ProtocolViolation)?;
        let scope = self.scopes.get_mut(&tenant).ok_or(CloseReason::ProtocolViolation)?;
        let Flight::Sent { nonce, version, .. } = scope.flight else {
            return Err(CloseReason::ProtocolViolation);
        };
        if nonce != nack.nonce || version.rev != nack.rejected_rev {
            return Err(CloseReason::ProtocolViolation);
        }
        self.answered += 1;
        scope.flight = Flight::None;
        scope.refused = Some(version);
        if code.entry().retryable {
            scope.retry_at = Some(context.after(RETRY));
            self.window.retrying.insert(tenant);
        }
        self.window.landed(tenant);
        out.push(Output::Rejected { tenant, version, at_rev: nack.at_rev, code, detail: nack.detail });
        Ok(())
    }

    pub(super) fn need(&mut self, need: v1::Need, out: &mut Vec<Output>) -> Step {
        let tenant = tenant_id(&need.tenant_id).ok_or(CloseReason::ProtocolViolation)?;
        let scope = self.scopes.get_mut(&tenant).ok_or(CloseReason::ProtocolViolation)?;
        let version = match scope.flight {
            // Nothing else can fail to fit.
            Flight::Sent { nonce, version, leans: true } if nonce == need.nonce => version,
            _ => return Err(CloseReason::ProtocolViolation),
        };
        self.answered += 1;
        scope.flight = Flight::None;
        scope.whole = true;
        self.window.landed(tenant);
        out.push(Output::Misfit { tenant, version, detail: need.detail });
        Ok(())
    }

    /// Sets right what is known of one bucket. What is under way is left alone: its answer will tell, and the next beat.
    pub(super) fn holds(&mut self, holds: &v1::Holds, out: &mut Vec<Output>) -> Step {
        let place = u8::try_from(holds.bucket).map_err(|_| CloseReason::ProtocolViolation)?;
        let said = holds.have.iter().map(holding).collect::<Result<BTreeMap<_, _>, _>>()?;
        if said.keys().any(|tenant| Buckets::place(*tenant) != place) {
            return Err(CloseReason::ProtocolViolation);
        }
        let known = self.scopes.keys().filter(|tenant| Buckets::place(**tenant) == place);
        let tenants: Vec<_> = known.chain(said.keys()).copied().collect();
        for tenant in tenants {
            let held = said.get(&tenant).copied();
            let scope = self.scopes.entry(tenant).or_default();
            let under_way = matches!(scope.flight, Flight::Sent { .. } | Flight::Removing { .. });
            if scope.held == held || under_way {
                continue;
            }
            self.hold(tenant, held);
            self.window.dirty.insert(tenant);
            out.push(Output::Repaired(tenant));
            out.push(held.map_or(Output::Applied(tenant, None), |held| Output::Claimed(tenant, held)));
        }
        Ok(())
    }
}
