//! Who calls, and how the client comes to show it. Tokens are found by discovery alone, as with any MCP server.

use std::fmt;

use anyhow::{Context, ensure};
use rmcp::transport::auth::{
    AuthorizationManager, AuthorizationRequest, ClientCredentialsConfig, JwtSigningAlgorithm, OAuthState,
};
use serde::Deserialize;
use tokio::process::Command;

/// Who calls.
#[derive(Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Identity {
    /// An API key, sent as a bearer token.
    Key {
        /// The key.
        key: String,
    },
    /// A client with a secret: a token by client credentials.
    Secret {
        /// Its id at the issuer.
        client_id: String,
        /// Its secret.
        secret: String,
    },
    /// A client that signs who it is: the same.
    Signed {
        /// Its id at the issuer.
        client_id: String,
        /// P-256, PKCS #8, PEM.
        private_key: String,
    },
    /// A person: a token by authorization code.
    Person {
        /// The client that the issuer knows already; without it and without `document` the client registers itself.
        client_id: Option<String>,
        /// Where the client's metadata document is.
        document: Option<String>,
        /// Where the issuer sends the person back to; nobody has to listen there.
        redirect_uri: String,
        /// What plays the person's browser: it gets the authorization URL as its last argument, and prints the URL that it was
        /// sent back to.
        browser: Vec<String>,
    },
}

/// Kinds alone: the rest may be secret.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key { .. } => "Key",
            Self::Secret { .. } => "Secret",
            Self::Signed { .. } => "Signed",
            Self::Person { .. } => "Person",
        })
    }
}

/// What requests are sent with.
pub(crate) enum Authorized {
    /// This as a bearer token.
    Header(String),
    /// Tokens that the manager has.
    Tokens(Box<AuthorizationManager>),
}

impl Identity {
    pub(crate) async fn authorize(&self, url: &str) -> anyhow::Result<Authorized> {
        let mut state = OAuthState::new(url, None).await?;
        let (scopes, resource) = (Vec::new(), Some(url.to_owned()));
        match self {
            Self::Key { key } => return Ok(Authorized::Header(key.clone())),
            Self::Secret { client_id, secret } => {
                let (client_id, client_secret) = (client_id.clone(), secret.clone());
                let config =
                    ClientCredentialsConfig::ClientSecret { client_id, client_secret, scopes, resource };
                state.authenticate_client_credentials(config).await?;
            }
            Self::Signed { client_id, private_key } => {
                let config = ClientCredentialsConfig::PrivateKeyJwt {
                    client_id: client_id.clone(),
                    signing_key: private_key.clone().into_bytes(),
                    signing_algorithm: JwtSigningAlgorithm::ES256,
                    token_endpoint_audience: None,
                    scopes,
                    resource,
                };
                state.authenticate_client_credentials(config).await?;
            }
            Self::Person { client_id, document, redirect_uri, browser } => {
                let mut request = AuthorizationRequest::new(redirect_uri.as_str())
                    .with_client_name("portcullis-rmcp-peer")
                    .with_application_type("native")
                    .with_initial_scope_selection();
                if let Some(client_id) = client_id {
                    request = request.with_preregistered_client(client_id.as_str());
                }
                if let Some(document) = document {
                    request = request.with_client_metadata_url(document.as_str());
                }
                state.start_authorization(request).await?;
                let back = browse(browser, &state.get_authorization_url().await?).await?;
                state.handle_callback_url(&back).await?;
            }
        }
        let manager = state.into_authorization_manager().context("nothing was authorized")?;
        Ok(Authorized::Tokens(Box::new(manager)))
    }
}

async fn browse(browser: &[String], url: &str) -> anyhow::Result<String> {
    let (program, arguments) = browser.split_first().context("no browser")?;
    let ended = Command::new(program).args(arguments).arg(url).output().await.context("browser")?;
    ensure!(ended.status.success(), "the browser failed: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(String::from_utf8(ended.stdout)?.trim().to_owned())
}
