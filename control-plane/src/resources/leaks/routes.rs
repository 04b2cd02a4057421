//! `/v1/leaks`, `/v1/credential-format`.

use crypto::{KeyKind, key::KEY_REGEX};

use super::{
    find,
    types::{CredentialFormat, CredentialPrefix, LeakReport, LeakedCredential},
};
use crate::http::{anybody::Anybody, prelude::*};

/// Credentials in one report.
const MOST: usize = 32;
/// Bytes of one, whatever it is.
const LONGEST: usize = 4_096;
/// Characters of where it was found that go into the audit log.
const PLACE: usize = 200;

/// Reports credentials that were found where they should not be. Whoever has one may report it, without being known: it is revoked
/// at once, and its tenant's audit log says so. An API key dies everywhere within the kill switch's bound; with a client
/// secret, the tokens die that its client has. Takes no `Idempotency-Key`: what is revoked stays so.
#[utoipa::path(post, path = "/v1/leaks", operation_id = "report_leak", tag = "leaks",
    request_body(content = Vec<LeakedCredential>, description = "1 to 32"),
    responses((status = 200, description = "What came of each", body = LeakReport), Problems))]
pub async fn report(
    anybody: Anybody,
    State(core): State<Core>,
    Json(leaked): Json<Vec<LeakedCredential>>,
) -> Result<Reply, ApiError> {
    if !(1..=MOST).contains(&leaked.len()) {
        return Err(ApiError::invalid("", format!("must have 1 to {MOST} entries")));
    }
    if let Some(place) = leaked.iter().position(|each| each.token.len() > LONGEST) {
        return Err(ApiError::invalid(format!("/{place}/token"), format!("must be at most {LONGEST} bytes")));
    }
    let mut outcomes = Vec::with_capacity(leaked.len());
    for each in &leaked {
        // Who only guesses is kept from it as from guessing anywhere else; and as looking costs something, whoever it is pays before.
        if let Err(retry_after) = core.may_authenticate(anybody.address) {
            return Err(ApiError::AddressLimited { retry_after });
        }
        core.authentication_failed(anybody.address);
        let place = each.url.as_deref().map(shown).unwrap_or_default();
        let act = |ended: String| anybody.act("report_leak", format_args!("{ended}{place}"));
        outcomes.push(find::end(&core, &each.token, act).await?);
    }
    Reply::resource(&LeakReport { outcomes })
}

/// Where it was found, as anybody says it: for a log, and not to be taken for anything else in it.
fn shown(url: &str) -> String {
    let graphic = url.chars().filter(char::is_ascii_graphic).take(PLACE);
    std::iter::once(' ').chain(graphic).collect()
}

/// How to find this product's credentials in texts, for secret scanners.
#[utoipa::path(get, path = "/v1/credential-format", operation_id = "get_credential_format", tag = "leaks",
    responses((status = 200, description = "The format", body = CredentialFormat)))]
pub async fn format() -> Result<Reply, ApiError> {
    let kinds = [
        (KeyKind::ApiKey, "API key of a client, for MCP endpoints"),
        (KeyKind::ClientSecret, "client secret, for a tenant's authorization server"),
        (KeyKind::AdminToken, "admin token, for a tenant's part of the admin API"),
        (KeyKind::OperatorToken, "operator token, for all of the admin API"),
        (KeyKind::JoinToken, "join token, with which a proxy enrols once"),
        (KeyKind::InitialAccessToken, "initial access token, with which clients register (RFC 7591)"),
        (
            KeyKind::RegistrationToken,
            "registration access token, with which a client manages itself (RFC 7592)",
        ),
        (KeyKind::DeviceCode, "device code (RFC 8628)"),
    ];
    Reply::resource(&CredentialFormat {
        regex: KEY_REGEX,
        checksum: "the last 6 characters are the CRC-32 (IEEE 802.3) of all before them, in base 62 with the digits 0-9A-Za-z, padded with 0",
        kinds: kinds
            .into_iter()
            .map(|(kind, what)| CredentialPrefix { prefix: kind.prefix(), what })
            .collect(),
    })
}
