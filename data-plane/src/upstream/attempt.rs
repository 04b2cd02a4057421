//! One attempt at a call, and another where the upstream refuses the access token of the first.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::{
    error::{UpstreamError, Waiting},
    exchange::{self, Outgoing as Sent},
    forward::{Call, Head, Outgoing},
    headers::{Describing, Fields, Replaced},
    oauth::{Token, calls},
    proof::Proof,
    reply::Reply,
};
use crate::mcp::{Request, Speaker};

impl Call<'_> {
    pub(super) async fn attempt(
        &self,
        caller: &HeaderMap,
        mcp_name: Option<&str>,
        body: Bytes,
        request: Option<&Request>,
    ) -> Result<(Head, Reply), UpstreamError> {
        let token = self.token().await?;
        let first = self.once((caller, mcp_name), body.clone(), request, token.as_deref()).await;
        match first {
            Err(error) if calls::is_followed(self.pool, &self.speaker.upstream, token.as_ref(), &error) => {
                let token = self.token().await?;
                Box::pin(self.once((caller, mcp_name), body, request, token.as_deref())).await
            }
            first => first,
        }
    }

    async fn token(&self) -> Result<Option<Arc<Token>>, UpstreamError> {
        let Speaker { tenant, upstream, .. } = self.speaker;
        let asking = Box::pin(calls::token(self.pool, tenant, upstream));
        self.time.wait(None, upstream.timeouts.total, Waiting::Total, asking).await?
    }

    async fn once(
        &self,
        (caller, mcp_name): (&HeaderMap, Option<&str>),
        body: Bytes,
        request: Option<&Request>,
        token: Option<&Token>,
    ) -> Result<(Head, Reply), UpstreamError> {
        let upstream = &*self.speaker.upstream;
        let replaced = Replaced {
            name: mcp_name,
            session: self.session.map(|session| &*session.upstream_session),
            last_event: self.speaker.opened.resume.as_ref().map(|resume| &*resume.event),
        };
        let method = match self.outgoing {
            Outgoing::Listen => http::Method::GET,
            Outgoing::End => http::Method::DELETE,
            _ => http::Method::POST,
        };
        let modern = self.speaker.revision.is_modern();
        let describing = Describing {
            body: method == http::Method::POST,
            mirrored: modern,
            named: modern && request.is_some_and(|request| request.method.name_member().is_some()),
        };
        let proof = Proof {
            tenant: &self.speaker.tenant,
            upstream,
            stated: self.stated,
            token,
            clock: &*self.pool.parts.clock,
            entropy: &*self.pool.parts.entropy,
        };
        let outgoing = Sent {
            method,
            fields: Fields { caller, describing, replaced, proof },
            body,
            sticky: self.session.and_then(|session| session.address),
            repeatable: self.repeatable,
        };
        let rules = &self.speaker.tenant.egress;
        let (received, body, lease) =
            exchange::exchange(self.pool, upstream, rules, outgoing, self.time).await?;
        self.take(received, body, lease, request).await
    }
}
