//! A person with a browser: accepts invitations, signs in, and does what pages of the authorization servers' origin ask.

use std::{collections::BTreeMap, net::IpAddr};

use parking_lot::Mutex;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use serde_json::json;

use crate::{gateway::Gateway, machine::FormBody as _, tenant::Tenant, values::text};

/// The authorization servers' origin, as the control plane is told it.
pub const ORIGIN: &str = "http://127.0.0.1:2";

/// What a person types as their password, if nothing else is said.
pub const PASSWORD: &str = "violet tractor 17";

/// A person and their browser.
#[derive(Debug)]
pub struct Person {
    /// Address under which they sign in.
    pub email: String,
    /// What they type.
    pub password: String,
    /// The tenant that they say they are of, where that is asked.
    pub organisation: String,
    /// The member that they are, of the tenant that they joined first; empty if of none.
    pub member: String,
    /// Where the origin listens.
    url: String,
    http: reqwest::Client,
    cookies: Mutex<BTreeMap<String, String>>,
}

/// What a browser was shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The page.
    pub page: String,
}

impl Shown {
    /// Where it sends the browser on to; empty if nowhere.
    #[must_use]
    pub fn location(&self) -> String {
        let location = self.headers.get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        location.unwrap_or_default()
    }

    /// The value of the first field of that name on the page.
    #[must_use]
    pub fn field(&self, name: &str) -> String {
        let after = |text: &str, mark: &str| text.split_once(mark).map(|(_, rest)| rest.to_owned());
        let rest = after(&self.page, &format!("name=\"{name}\" value=\""));
        rest.and_then(|rest| rest.split('"').next().map(str::to_owned)).unwrap_or_default()
    }

    /// The code of what went wrong, as pages show it.
    #[must_use]
    pub fn code(&self) -> String {
        let rest = self.page.split_once("<code>").map(|(_, rest)| rest).unwrap_or_default();
        rest.split('<').next().unwrap_or_default().to_owned()
    }
}

impl Person {
    /// Somebody with an empty browser, of no tenant yet.
    #[must_use]
    pub fn new(gateway: &Gateway, email: &str) -> Self {
        Self::at(gateway, email, reqwest::Client::builder())
    }

    /// The same, coming from another address of this machine.
    #[must_use]
    pub fn from(gateway: &Gateway, email: &str, address: [u8; 4]) -> Self {
        Self::at(gateway, email, reqwest::Client::builder().local_address(IpAddr::from(address)))
    }

    fn at(gateway: &Gateway, email: &str, http: reqwest::ClientBuilder) -> Self {
        Self {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            organisation: "acme".to_owned(),
            member: String::new(),
            url: gateway.auth_url.clone(),
            http: http.no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap(),
            cookies: Mutex::default(),
        }
    }

    /// Somebody who was invited to the tenant as `user`, has joined, and is signed in.
    pub async fn join(gateway: &Gateway, tenant: &Tenant, email: &str) -> Self {
        Self::join_as(gateway, tenant, email, "user").await
    }

    /// As [`Self::join`], with what they may administer.
    pub async fn join_as(gateway: &Gateway, tenant: &Tenant, email: &str, admin_role: &str) -> Self {
        let mut person = Self::new(gateway, email);
        person.organisation.clone_from(&tenant.slug);
        person.accept(&invite(tenant, email, admin_role).await).await;
        let page = tenant.admin.get(&format!("{}/members?limit=200", tenant.base)).await.unwrap();
        let members = page["items"].as_array().unwrap();
        let own = members.iter().find(|member| member["email"] == email.to_ascii_lowercase());
        person.member = text(own.unwrap(), "id");
        person
    }

    /// Accepts an invitation with a new account, which must succeed.
    pub async fn accept(&self, link: &str) {
        let joined = self.answer(link, &[("act", "new")]).await;
        assert_eq!((joined.status, joined.location().as_str()), (303, "/account"), "{joined:?}");
    }

    /// Accepts an invitation with the account that they have in their organisation, which must succeed.
    pub async fn join_too(&self, link: &str) {
        let joined = self.answer(link, &[("act", "join"), ("tenant", &self.organisation)]).await;
        assert_eq!((joined.status, joined.location().as_str()), (303, "/account"), "{joined:?}");
    }

    /// Opens an invitation and sends one of its forms with their password.
    pub async fn answer(&self, link: &str, form: &[(&str, &str)]) -> Shown {
        let path = link.strip_prefix(ORIGIN).unwrap();
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{page:?}");
        self.submit(path, &page, &[form, &[("password", &self.password)]].concat()).await
    }

    /// By what their browser speaks.
    #[must_use]
    pub const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// A cookie of the browser.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().get(name).cloned()
    }

    /// Puts a cookie into the browser, or takes it away.
    pub fn set_cookie(&self, name: &str, value: Option<&str>) {
        let mut cookies = self.cookies.lock();
        match value {
            Some(value) => drop(cookies.insert(name.to_owned(), value.to_owned())),
            None => drop(cookies.remove(name)),
        }
    }

    /// Sends a request with the browser's cookies, and keeps what comes back of them.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Shown {
        let cookies: Vec<_> =
            self.cookies.lock().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) };
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.set_cookie(name, Some(value).filter(|value| !value.is_empty()));
        }
        Shown { status, headers, page: response.text().await.unwrap() }
    }

    /// Opens a page of the origin.
    pub async fn get(&self, path: &str) -> Shown {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    /// A POST to the origin, to be completed.
    pub fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.url))
    }

    /// Posts a form as browsers do.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Shown {
        self.send(self.request(path).header("origin", ORIGIN).form(form)).await
    }

    /// Fills in the form of the page at `path` and posts it.
    pub async fn submit(&self, path: &str, page: &Shown, form: &[(&str, &str)]) -> Shown {
        let token = page.field("form");
        self.post(path, &[&[("form", token.as_str())], form].concat()).await
    }

    /// What they type to sign in.
    #[must_use]
    pub fn typed(&self) -> [(&str, &str); 4] {
        let Self { organisation, email, password, .. } = self;
        [("act", "sign_in"), ("tenant", organisation), ("email", email), ("password", password)]
    }

    /// Signs in at the page at `path`, which shows where.
    pub async fn sign_in(&self, path: &str) -> Shown {
        let page = self.get(path).await;
        self.submit(path, &page, &self.typed()).await
    }
}

/// Invites somebody; the link.
pub async fn invite(tenant: &Tenant, email: &str, admin_role: &str) -> String {
    let new = json!({"email": email, "admin_role": admin_role});
    text(&tenant.post("/invitations", new).await, "link")
}
