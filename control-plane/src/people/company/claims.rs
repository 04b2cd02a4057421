//! What an id token has to say (OpenID Connect Core section 3.1.3.7).

use std::time::Duration;

use crypto::secret::ct_eq;
use seams::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    people::{email::Email, session::FRESH},
    resources::sign_in_providers::types::SignInProviderSettings,
};

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(30);
/// How old a token may be: it comes at once.
const OLDEST: Duration = Duration::from_secs(5 * 60);
/// How long ago somebody has signed in who was to do so anew.
const ANEW: Duration = Duration::from_secs(2 * 60);
/// Bytes of a `sub`.
const MAX_SUBJECT: usize = 255;
/// Groups of one person.
const MAX_GROUPS: usize = 1_000;

#[derive(Deserialize)]
pub(super) struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: u64,
    iat: u64,
    nonce: String,
    email: String,
    email_verified: bool,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    nbf: Option<u64>,
    #[serde(default)]
    auth_time: Option<u64>,
    /// Everything else.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// One: a token for several could be sent on by one of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    Text(String),
    List([String; 1]),
}

/// What is believed.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) subject: String,
    pub(super) email: Email,
    pub(super) groups: Vec<String>,
    /// When they have signed in, at the latest.
    pub(super) signed_in_at: Timestamp,
}

impl Claims {
    /// `anew`: the person was to sign in anew.
    pub(super) fn check(
        self,
        settings: &SignInProviderSettings,
        nonce: &str,
        (now, anew): (Timestamp, bool),
    ) -> Result<Said, &'static str> {
        let (Audience::Text(audience) | Audience::List([audience])) = &self.aud;
        let at = Timestamp::from_secs;
        for (holds, why) in [
            (self.iss == settings.issuer, "`iss` is not the provider"),
            (*audience == settings.client_id, "`aud` is not this client"),
            (self.azp.as_ref().is_none_or(|azp| *azp == settings.client_id), "`azp` is not this client"),
            (ct_eq(self.nonce.as_bytes(), nonce.as_bytes()), "`nonce` is not that of this sign-in"),
            (at(self.exp).plus(SKEW) > now, "it has ended"),
            (at(self.iat) <= now.plus(SKEW), "it is from the future"),
            (at(self.iat).plus(OLDEST) > now, "it is too old"),
            (self.nbf.is_none_or(|nbf| at(nbf) <= now.plus(SKEW)), "it is not good yet"),
            (self.email_verified, "the address is not verified"),
        ] {
            if !holds {
                return Err(why);
            }
        }
        let subject = self.sub;
        if !(1..=MAX_SUBJECT).contains(&subject.len()) || subject.chars().any(char::is_control) {
            return Err("`sub` is empty, too long, or no text");
        }
        let email = Email::parse(&self.email).ok_or("`email` is no address")?;
        let domain = email.as_str().rsplit_once('@').map_or("", |(_, domain)| domain);
        if !settings.email_domains.iter().any(|own| own == domain) {
            return Err("`email` is of a domain that the provider does not stand for");
        }
        let signed_in_at = match self.auth_time.map(at) {
            Some(time) if time > now.plus(SKEW) => return Err("`auth_time` is in the future"),
            Some(time) if anew && time.plus(ANEW) < now => return Err("the person has not signed in anew"),
            None if anew => return Err("`auth_time` is missing"),
            _ if anew => now,
            // How long ago that was is the provider's to say; unless it does, it was not just now.
            _ => Timestamp::from_offset(now.to_offset() - FRESH - SKEW),
        };
        let groups = match settings.groups_claim.as_ref().and_then(|claim| self.more.get(claim)) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(all)) if all.len() <= MAX_GROUPS => {
                all.iter().filter_map(|group| group.as_str().map(str::to_owned)).collect()
            }
            Some(Value::Array(_)) => return Err("there are too many groups"),
            _ => Vec::new(),
        };
        Ok(Said { subject, email, groups, signed_in_at })
    }
}
