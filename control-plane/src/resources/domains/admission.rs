//! Which names a tenant may claim, and how it proves that one is its own.

use crypto::digest;
use seams::Entropy;
use wire::snapshot::is_domain_name;

use super::types::{Domain, DomainRecord};
use crate::{config::PublicUrls, http::problem::ApiError};

/// Put before the name that has to have the record.
const LABEL: &str = "_portcullis";
/// Put before the token, so that whoever finds the record knows what it is for.
const TEXT: &str = "portcullis-domain=";

/// What has to be in DNS.
pub(super) fn record(name: &str, token: &str) -> DomainRecord {
    DomainRecord { name: format!("{LABEL}.{name}"), r#type: "TXT", value: format!("{TEXT}{token}") }
}

/// 128 bits: whoever could guess it could have a proof lying ready for somebody else's claim.
pub(super) fn token(entropy: &dyn Entropy) -> String {
    digest::hex(&entropy.bytes::<16>())
}

/// A name in its one spelling. None of this installation's own, nor below one: those are served to all tenants.
pub(super) fn name(given: &str, urls: &PublicUrls) -> Result<String, ApiError> {
    let name = given.to_ascii_lowercase();
    if !is_domain_name(&name) {
        return Err(ApiError::invalid(
            "/name",
            "must be a host name in ASCII with two labels at least, without a port and without a final dot",
        ));
    }
    let own = [&urls.control, &urls.auth, &urls.gateway].into_iter().filter_map(|url| url.domain());
    let below = |own: &str| name == own || name.strip_suffix(own).is_some_and(|rest| rest.ends_with('.'));
    if own.into_iter().any(below) {
        return Err(ApiError::invalid("/name", "is a name of this installation"));
    }
    Ok(name)
}

/// Whether one of the texts that DNS has is what the domain asks for.
pub(super) fn proves(domain: &Domain, texts: &[String]) -> bool {
    texts.iter().any(|text| text.trim() == domain.record.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls() -> PublicUrls {
        let url = |text: &str| text.parse().unwrap();
        PublicUrls {
            control: url("https://api.portcullis.example"),
            auth: url("https://auth.portcullis.example:8443"),
            gateway: url("https://gw.portcullis.example"),
        }
    }

    #[test]
    fn names_of_the_installation_and_what_is_none_are_refused() {
        assert_eq!(name("MCP.Acme.example", &urls()).unwrap(), "mcp.acme.example");
        // Not below it, though it ends so.
        assert!(name("othergw.portcullis.example", &urls()).is_ok());
        for bad in [
            "gw.portcullis.example",
            "acme.gw.portcullis.example",
            "auth.portcullis.example",
            "a.b:80",
            "127.0.0.1",
            "acme",
            "",
            "*.acme.example",
        ] {
            assert!(name(bad, &urls()).is_err(), "{bad}");
        }
    }
}
