use serde_json::{Value, json};

use super::*;

const SELF: &str = "https://app.example/client.json";

fn document(change: Value) -> Result<Said, SaidError> {
    let mut document = json!({
        "client_id": SELF, "client_name": "App", "redirect_uris": ["https://app.example/callback"],
    });
    for (name, value) in change.as_object().unwrap() {
        document[name] = value.clone();
    }
    let url = Url::parse(SELF).unwrap();
    Said::read(document.to_string().as_bytes(), Speaker::Document(&url))
}

fn somebody(vouched: bool, said: Value) -> Result<Said, SaidError> {
    Said::read(said.to_string().as_bytes(), Speaker::Somebody { vouched })
}

fn key() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "one"})
}

#[test]
fn a_document_describes_a_client_that_acts_for_users_and_keeps_no_secret() {
    let said = document(json!({"unknown": {"a": 1}, "client_name#de": "x"})).unwrap();
    assert_eq!((said.token_endpoint_auth_method, said.client_name.as_str()), (Method::None, "App"));
    assert_eq!(said.grant_types, ["authorization_code"]);
    assert_eq!(said.response_types, ["code"]);
    let keys = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key()]}});
    assert!(document(keys).unwrap().jwks.is_some());
    let uri = "https://app.example/keys";
    let keys = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri});
    assert_eq!(document(keys).unwrap().jwks_uri.unwrap(), uri);
    for wrong in [
        json!({"client_id": "https://app.example/client.json/"}),
        json!({"client_id": "https://APP.example/client.json"}),
        json!({"client_id": null}),
        json!({"client_name": null}),
        json!({"client_name": ""}),
        json!({"client_name": "a\u{202e}b"}),
        json!({"client_name": "a\u{0}b"}),
        json!({"redirect_uris": null}),
        json!({"redirect_uris": []}),
        json!({"redirect_uris": ["javascript:alert(1)"]}),
        json!({"redirect_uris": "https://app.example/"}),
        json!({"client_secret": "x"}),
        json!({"client_secret_expires_at": 0}),
        json!({"token_endpoint_auth_method": "client_secret_basic"}),
        json!({"token_endpoint_auth_method": "client_secret_post"}),
        json!({"token_endpoint_auth_method": "client_secret_jwt"}),
        json!({"token_endpoint_auth_method": "private_key_jwt"}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": []}}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key()]}, "jwks_uri": uri}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{"kty": "oct", "k": "x", "kid": "x"}]}}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://evil.example/keys"}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://app.example/keys"}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example:8443/keys"}),
        json!({"token_endpoint_auth_signing_alg": "HS256"}),
        json!({"grant_types": ["client_credentials"]}),
        json!({"grant_types": ["implicit"]}),
        json!({"grant_types": ["password"]}),
        json!({"grant_types": ["refresh_token"]}),
        json!({"response_types": ["token"]}),
        json!({"response_types": ["code", "token"]}),
        json!({"application_type": "browser"}),
        json!({"client_uri": "javascript:alert(1)"}),
        json!({"logo_uri": "data:image/png;base64,AA"}),
        json!({"scope": "a\"b"}),
        json!({"software_id": "x".repeat(257)}),
    ] {
        assert!(document(wrong.clone()).is_err(), "{wrong}");
    }
    // A member twice is not two members.
    let url = Url::parse(SELF).unwrap();
    let twice = format!("{{\"client_id\":\"x\",\"client_id\":\"{SELF}\"}}");
    assert!(Said::read(twice.as_bytes(), Speaker::Document(&url)).is_err());
    for none in ["", "[]", "\"x\"", "{", "null"] {
        assert!(Said::read(none.as_bytes(), Speaker::Document(&url)).is_err(), "{none}");
    }
}

#[test]
fn who_registers_itself_acts_for_itself_only_where_somebody_vouches_for_it() {
    let uris = json!(["http://localhost:3000/callback"]);
    let said = somebody(false, json!({"redirect_uris": uris})).unwrap();
    assert_eq!(said.token_endpoint_auth_method, Method::ClientSecretBasic);
    assert_eq!(said.client_name, "Unnamed client");
    let machine = json!({"grant_types": ["client_credentials"]});
    assert!(somebody(true, machine.clone()).unwrap().response_types.is_empty());
    assert!(somebody(false, machine).is_err());
    let weak = json!({"grant_types": ["client_credentials"], "token_endpoint_auth_method": "none"});
    assert!(somebody(true, weak).is_err());
    let jwks_uri = json!({"redirect_uris": uris, "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": "https://app.example/keys"});
    assert!(somebody(true, jwks_uri).is_err(), "nothing is fetched");
    assert_eq!(somebody(false, json!({})).unwrap_err(), SaidError::Redirect("`redirect_uris` is missing"));
    // RFC 8252, and what OpenID Connect says of web applications.
    for (kind, uri, fits) in [
        ("native", "http://127.0.0.1/cb", true),
        ("native", "com.example.app:/cb", true),
        ("native", "https://app.example/cb", true),
        ("web", "https://app.example/cb", true),
        ("web", "http://127.0.0.1/cb", false),
        ("web", "https://localhost/cb", false),
        ("web", "com.example.app:/cb", false),
        ("native", "http://app.example/cb", false),
        ("native", "https://u@app.example/cb", false),
        ("native", "https://app.example/cb#x", false),
        ("native", "myapp:/cb", false),
    ] {
        let said = json!({"redirect_uris": [uri], "application_type": kind});
        let said = somebody(false, said);
        assert_eq!(said.is_ok(), fits, "{kind} {uri}");
        if !fits {
            assert!(matches!(said, Err(SaidError::Redirect(_))));
        }
    }
}
