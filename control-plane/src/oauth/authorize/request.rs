//! What a client asks for when it sends a person to the authorization endpoint.

use std::time::Duration;

use http::Uri;
use ids::Scopes;
use seams::Timestamp;
use url::Url;

use super::{answer::Denied, queries};
use crate::{
    app::Core,
    oauth::{
        audience,
        client::Origin,
        error::OAuthError,
        form::Form,
        issuer::Issuer,
        registration::{self, ResolveError, Resolved},
        scopes,
    },
    people::{page::PageError, session::Session},
};

/// Bytes of a query.
const MAX_QUERY: usize = 8 * 1024;
/// Characters of a `state`.
const MAX_STATE: usize = 1_024;
/// Characters of an S256 challenge: a SHA-256 in base64url (RFC 7636 section 4.2).
const CHALLENGE: usize = 43;

/// What the client wants the person to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompt {
    /// What has not been answered yet.
    Whatever,
    /// Nothing.
    None,
    /// To sign in anew.
    Login,
    /// Whether they agree, also if they have.
    Consent,
}

/// What is asked for. Client and redirect URI are good; the rest is, where nothing was [`Denied`].
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) client: Resolved,
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) challenge: String,
    pub(crate) resource: String,
    pub(crate) scopes: Scopes,
    pub(super) prompt: Prompt,
    pub(super) fresh: Fresh,
}

impl Asked {
    /// For records.
    pub(super) fn target(&self) -> String {
        format!("{} {}", self.client.id, self.resource)
    }

    /// Whether what asks may be another program than the one that is registered.
    pub(super) fn may_be_anybody(&self) -> bool {
        self.client.public && !self.redirect_uri.starts_with("https://")
    }

    /// Where the answer goes, for people.
    pub(super) fn destination(&self) -> (String, bool) {
        let Ok(url) = Url::parse(&self.redirect_uri) else { return (String::new(), false) };
        match url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")) {
            Some(host) => (host.to_owned(), url.scheme() == "http"),
            None => (format!("{}:", url.scheme()), true),
        }
    }
}

/// How lately the person has to have signed in (OpenID Connect Core section 3.1.2.1).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fresh {
    /// Anew, whenever that was.
    again: bool,
    max_age: Option<Duration>,
}

impl Fresh {
    /// What they need from having signed in to being back here.
    const LEAST: Duration = Duration::from_secs(5);

    pub(super) fn read(form: &Form) -> Result<Self, Denied> {
        let prompts = form.get("prompt").into_iter().flat_map(|prompt| prompt.split(' '));
        let again = prompts.into_iter().any(|one| matches!(one, "login" | "select_account"));
        let max_age = match form.get("max_age") {
            None => None,
            Some(text) if text.len() <= 9 && text.bytes().all(|c| c.is_ascii_digit()) => {
                Some(Duration::from_secs(text.parse().map_err(|_| Denied::Request)?))
            }
            Some(_) => return Err(Denied::Request),
        };
        Ok(Self { again: again || max_age == Some(Duration::ZERO), max_age })
    }

    pub(super) fn is_met_by(self, session: &Session, now: Timestamp) -> bool {
        let age = now.since(session.signed_in_at);
        !self.again && self.max_age.is_none_or(|most| age <= most.max(Self::LEAST))
    }
}

/// The parameters of a request, where they can be read.
pub(super) fn form(query: &str) -> Result<Form, PageError> {
    if query.len() > MAX_QUERY {
        return Err(PageError::Authorization("The request is too long."));
    }
    Form::of_query(query)
        .map_err(|_| PageError::Authorization("The request cannot be read, or says something twice."))
}

/// The challenge that a code is to be bound to. No challenge, and one that hides nothing (`plain`, which is what is meant where no method
/// is named), protect nothing.
pub(super) fn challenge(form: &Form) -> Option<&str> {
    let challenge = form.get("code_challenge").filter(|_| form.get("code_challenge_method") == Some("S256"));
    challenge.filter(|challenge| {
        challenge.len() == CHALLENGE
            && challenge.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    })
}

/// Reads a request. What makes it one that nobody may be sent back from is an error; what else is wrong with it is to be told the client.
pub(super) async fn read(
    core: &Core,
    issuer: &Issuer,
    query: &str,
    origin: &Origin,
) -> Result<(Asked, Option<Denied>), PageError> {
    let form = form(query)?;
    let unknown = PageError::Authorization("The application is not one of this organisation's.");
    let Some(client) = form.get("client_id") else { return Err(unknown) };
    let client = match registration::resolve(core, issuer, client, origin).await {
        Ok(client) if client.enabled => client,
        Ok(_) | Err(ResolveError::Unknown) => return Err(unknown),
        Err(ResolveError::Limited { retry_after }) => return Err(PageError::Limited { retry_after }),
        Err(ResolveError::Store(error)) => return Err(error.into()),
        Err(error) => match error.detail() {
            Some(why) => return Err(PageError::Document(why)),
            None => return Err(OAuthError::from(error).into()),
        },
    };
    let mut tx = core.store.tenant(issuer.tenant).await?;
    if !queries::is_open(&mut tx).await? {
        return Err(unknown);
    }
    let given =
        form.get("redirect_uri").filter(|given| client.redirect_uris.iter().any(|own| own.admits(given)));
    let redirect_uri = given.map(str::to_owned).ok_or(PageError::Authorization(
        "Where the application wants you to be sent back to is not where it said before.",
    ))?;
    let mut asked = Asked {
        client,
        redirect_uri,
        state: form.get("state").filter(|state| state.len() <= MAX_STATE).map(str::to_owned),
        challenge: String::new(),
        resource: String::new(),
        scopes: Scopes::none(),
        prompt: Prompt::Whatever,
        fresh: Fresh::default(),
    };
    let may = match registration::may(core, issuer, asked.client.id, "authorization_code").await {
        Ok(_) => true,
        Err(OAuthError::NotForThisClient) => false,
        Err(error) => return Err(error.into()),
    };
    let denied = match rest(&form, &mut asked) {
        Err(denied) => Some(denied),
        Ok(()) if !may => Some(Denied::Client),
        Ok(()) if core.kills.stop_client(issuer.tenant, asked.client.id) => Some(Denied::Killed),
        Ok(()) => {
            let chosen = audience::choose(&mut tx, core, issuer, asked.client.id, form.get("resource")).await;
            match (chosen, scopes::asked(&mut tx, &form).await) {
                (Ok(resource), Ok(scopes)) => {
                    (asked.resource, asked.scopes) = (resource, scopes);
                    None
                }
                (Err(OAuthError::Target(_)), _) => Some(Denied::Target),
                (_, Err(OAuthError::Scope)) => Some(Denied::Scope),
                (Err(error), _) | (_, Err(error)) => return Err(error.into()),
            }
        }
    };
    Ok((asked, denied))
}

/// What can be said of a request by itself.
fn rest(form: &Form, asked: &mut Asked) -> Result<(), Denied> {
    if form.get("state").is_some_and(|state| state.len() > MAX_STATE) {
        return Err(Denied::Request);
    }
    // What they would say besides is not looked at, so it must not be there.
    if form.get("request").is_some() || form.get("request_uri").is_some() {
        return Err(Denied::Request);
    }
    match form.get("response_type") {
        Some("code") => {}
        Some(_) => return Err(Denied::ResponseType),
        None => return Err(Denied::Request),
    }
    if form.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(Denied::Request);
    }
    asked.challenge = challenge(form).ok_or(Denied::Request)?.to_owned();
    asked.fresh = Fresh::read(form)?;
    asked.prompt = match form.get("prompt") {
        None => Prompt::Whatever,
        Some("none") => Prompt::None,
        Some(several) => {
            let mut all = several.split(' ');
            if !all.clone().all(|one| matches!(one, "login" | "consent" | "select_account")) {
                return Err(Denied::Request);
            }
            let again = all.clone().any(|one| matches!(one, "login" | "select_account"));
            match (again, all.any(|one| one == "consent")) {
                (true, _) => Prompt::Login,
                (false, _) => Prompt::Consent,
            }
        }
    };
    Ok(())
}

/// The same request, of somebody who has just signed in: asked to once more they would never be done.
pub(super) fn without_login(uri: &Uri) -> String {
    let query = uri.query().unwrap_or_default();
    let pairs = url::form_urlencoded::parse(query.as_bytes()).filter_map(|(name, value)| {
        if name != "prompt" {
            let at_once = name == "max_age" && value.trim_start_matches('0').is_empty();
            return (!at_once).then_some((name, value));
        }
        let left: Vec<_> =
            value.split(' ').filter(|one| !matches!(*one, "login" | "select_account")).collect();
        (!left.is_empty()).then(|| (name, left.join(" ").into()))
    });
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{}?{query}", uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_signed_in_is_not_asked_to_again() {
        let uri = |text: &str| without_login(&text.parse().unwrap());
        assert_eq!(uri("/t/a/authorize?a=1&prompt=login&b=%26"), "/t/a/authorize?a=1&b=%26");
        assert_eq!(uri("/t/a/authorize?prompt=login%20consent"), "/t/a/authorize?prompt=consent");
        assert_eq!(uri("/t/a/authorize?max_age=0&max_age=60"), "/t/a/authorize?max_age=60");
    }
}
