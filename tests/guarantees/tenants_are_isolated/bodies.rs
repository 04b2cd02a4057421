//! A body for each operation that has one.

use serde_json::{Value, json};

use super::{Ids, ed25519};
use crate::{
    certificates_speak_for_clients::{authority, certificate},
    tokens_of_others_speak_for_clients::login,
};

/// A body that the operation accepts when its ids are those in `ids`.
pub(crate) fn body(operation: &str, ids: &Ids) -> Value {
    let upstream = &ids["upstream"];
    let names = json!({"names": ["echo"]});
    let actions = json!([{"action": "call_tool", "upstream": upstream, "tools": names}]);
    match operation {
        "create_admin_token" => json!({"name": "n", "scopes": ["keys:read"]}),
        "create_upstream" => json!({"slug": "new", "name": "new", "url": "https://example.com/mcp"}),
        "update_upstream" => json!({"total_timeout_ms": 20_000}),
        "create_credential" => json!({"header": "X-Other", "value": "v"}),
        "replace_credential" => json!({"value": "v"}),
        "replace_upstream_oauth" => json!({
            "token_endpoint": "https://auth.example.com/token", "client_id": "c",
            "authentication": "client_secret_post", "secret": "s",
        }),
        "replace_upstream_assertion" => json!({"audience": "urn:other"}),
        "create_endpoint" => json!({"slug": "new", "name": "new"}),
        "update_endpoint" => json!({
            "external_issuers": [ids["external_issuer"]], "client_authorities": [ids["client_authority"]]}),
        "attach_upstream" => json!({"upstream_id": upstream, "prefix": "x_"}),
        "create_domain" => json!({"name": "new.example", "endpoint_id": ids["endpoint"]}),
        "replace_domain_certificate" => certificate("mcp.acme.example"),
        "create_client" | "create_role" => json!({"name": "new"}),
        "update_registration" => json!({"dynamic": {"by": "token", "endpoint_ids": [ids["endpoint"]]}}),
        "create_initial_access_token" => json!({"name": "n"}),
        "create_trusted_issuer" => json!({
            "name": "n", "issuer": "https://new.example", "purpose": "workload", "jwks": {"keys": [ed25519("one")]},
            "rules": [{"subject": "s", "client_id": ids["client"]}],
        }),
        "create_sign_in_provider" => json!({
            "name": "n", "issuer": "https://new.example", "client_id": "c", "client_secret": "s", "email_domains": ["acme.example"],
        }),
        "update_sign_in_provider" => json!({"name": "other"}),
        "update_trusted_issuer" => json!({"rules": [{"subject": "s", "client_id": ids["client"]}]}),
        "create_external_issuer" => login("https://new.example", &ids["client"], &ids["role"]),
        "update_external_issuer" => login("https://other.example", &ids["client"], &ids["role"]),
        "create_client_authority" | "update_client_authority" => authority(&ids["client"]),
        "allow_token_exchange" => json!({"subjects": "own"}),
        "update_client" => json!({"enabled": true}),
        "create_key" | "create_client_secret" => json!({"name": "n"}),
        "create_public_key" => json!({"name": "n", "key": ed25519("two")}),
        "update_rotation_schedule" => json!({"api_key_days": 30}),
        "report_leak" => json!([{"token": "pck_none"}]),
        "update_key" => json!({"name": "another"}),
        "rotate_key" | "rotate_client_secret" => json!({"overlap_seconds": 60}),
        "rotate_signing_keys" | "rotate_assertion_keys" => json!({"at_once": true}),
        "create_scope" => json!({"name": "new", "description": "d"}),
        "update_scope" => json!({"description": "other"}),
        "update_role" => json!({"name": "renamed"}),
        "create_grant" => json!({"subject": {"role": ids["role"]}, "actions": actions}),
        "update_member" => json!({"enabled": true}),
        "assign_member_role" => json!({}),
        "create_invitation" => json!({"email": "new@example.com", "admin_role": "user"}),
        "update_grant" => json!({"actions": actions}),
        "update_tool" => json!({"class": "write"}),
        "approve_tool" => json!({"class": "read"}),
        "review_tools" => json!({"decisions": [{"tool_id": ids["tool"], "verdict": "reject"}]}),
        "replace_role_grants" => json!({"grants": [{"actions": actions}]}),
        "create_limit" => {
            json!({"subject": {"tool": ids["tool"]}, "per_minute": 6, "burst": 6, "concurrency": 0})
        }
        "update_limit" => json!({"per_minute": 7}),
        "create_kill" => {
            json!({"level": "endpoint", "target": ids["endpoint"], "reason": "r", "drill": true})
        }
        "lift_kill" => json!({"reason": "r", "epoch": 0}),
        "update_tenant" => json!({"max_stale_seconds": 3_600}),
        "reject_tool" | "discover_upstream" | "assign_client_role" | "allow_client_endpoint" => json!({}),
        other => panic!("say in this test what a body of `{other}` looks like"),
    }
}
