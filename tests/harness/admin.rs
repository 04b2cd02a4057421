//! A member at the API's origin, in the browser in which they have signed in.

use reqwest::Method;
use serde_json::Value;

use crate::{
    gateway::Gateway,
    person::{ORIGIN, Person, Shown},
    values::text,
};

/// The API's origin, as the control plane is told it.
pub const API_ORIGIN: &str = "http://127.0.0.1:1";

/// The member and what their browser knows.
#[derive(Debug)]
pub struct Admin<'a> {
    /// Who.
    pub person: &'a Person,
    /// What writes carry.
    pub csrf: String,
    url: String,
}

impl Person {
    /// Opens a path of the API's origin.
    pub async fn open(&self, gateway: &Gateway, path: &str) -> Shown {
        self.send(self.http().get(format!("{}{path}", gateway.control_url))).await
    }

    /// Sets out from the API's origin, signs in at the issuer if that is asked, and stops on the way back: the path to which the issuer
    /// sends them, or what was shown in its place.
    pub async fn set_out(&self, gateway: &Gateway, query: &str) -> Result<String, Shown> {
        let start = self.open(gateway, &format!("/session/sign-in?{query}")).await;
        assert_eq!(start.status, 303, "{start:?}");
        let path = start.location().strip_prefix(ORIGIN).unwrap().to_owned();
        let mut shown = self.get(&path).await;
        if shown.page.contains("name=\"password\"") {
            let signed_in = self.sign_in(&path).await;
            if signed_in.status != 303 {
                return Err(signed_in);
            }
            shown = self.get(&signed_in.location()).await;
        }
        let back = shown.location();
        back.strip_prefix(API_ORIGIN).map(str::to_owned).ok_or(shown)
    }

    /// Goes to the API's origin as a member of the tenant, who may administer something.
    pub async fn administer(&self, gateway: &Gateway, slug: &str) -> Admin<'_> {
        self.administer_by(gateway, &format!("tenant={slug}")).await
    }

    /// As [`Self::administer`], with what is asked of the issuer besides.
    pub async fn administer_by(&self, gateway: &Gateway, query: &str) -> Admin<'_> {
        let back = self.set_out(gateway, query).await.unwrap();
        let arrived = self.open(gateway, &back).await;
        assert_eq!(arrived.status, 200, "{arrived:?}");
        let mut admin = Admin { person: self, csrf: String::new(), url: gateway.control_url.clone() };
        let (status, session) = admin.get("/v1/session").await;
        assert_eq!(status, 200, "{session}");
        admin.csrf = text(&session["member"], "csrf_token");
        admin
    }
}

impl Admin<'_> {
    /// A request of theirs with their cookies alone.
    pub async fn bare(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, Value) {
        let mut request = self.person.http().request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        let shown = self.person.send(request).await;
        (shown.status, serde_json::from_str(&shown.page).unwrap_or_default())
    }

    /// Reads as a page of the origin does.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.bare(Method::GET, path, &[("sec-fetch-site", "same-origin")], &Value::Null).await
    }

    /// Writes as a page of the origin does.
    pub async fn write(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut headers = vec![
            ("origin", API_ORIGIN),
            ("sec-fetch-site", "same-origin"),
            ("portcullis-csrf", self.csrf.as_str()),
            ("content-type", media),
        ];
        if [Method::PATCH, Method::PUT].contains(&method) {
            headers.push(("if-match", "*"));
        }
        self.bare(method, path, &headers, &body).await
    }

    /// Posts as a page of the origin does.
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.write(Method::POST, path, body).await
    }
}
