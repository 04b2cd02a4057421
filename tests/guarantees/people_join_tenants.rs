//! People belong to tenants: they are invited, join by a link that is good once, and are removed; nobody leaves a tenant without an
//! owner, and nobody gives more than they have.

use harness::{
    Gateway, Person, Tenant,
    person::{ORIGIN, invite},
    text,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

async fn members(tenant: &Tenant) -> Vec<Value> {
    let page = tenant.admin.get(&format!("{}/members", tenant.base)).await.unwrap();
    page["items"].as_array().unwrap().clone()
}

async fn sql(gateway: &Gateway, statement: &'static str) -> Result<(), sqlx::Error> {
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut conn).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_makes_a_member_once() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let link = invite(&tenant, "Ann@Example.com", "developer").await;
    let path = link.strip_prefix(ORIGIN).unwrap().to_owned();
    let listed = tenant.admin.get(&format!("{}/invitations", tenant.base)).await.unwrap();
    assert_eq!(listed["items"][0]["email"], "ann@example.com");
    assert!(listed["items"][0].get("link").is_none() && !listed.to_string().contains("pci_"), "{listed}");
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    let row: String =
        sqlx::query_scalar("SELECT i::text FROM invitations i").fetch_one(&mut conn).await.unwrap();
    assert!(!row.contains("pci_"), "{row}");

    let mut ann = Person::new(&gateway, "ann@example.com");
    let page = ann.get(&path).await;
    assert!(
        page.status == 200 && page.page.contains("acme") && page.page.contains("ann@example.com"),
        "{page:?}"
    );
    for weak in ["short", "password1234", "ann@example.com!"] {
        let refused = ann.submit(&path, &page, &[("act", "new"), ("password", weak)]).await;
        assert_eq!(refused.status, 422, "{weak}: {refused:?}");
    }
    let bare = ann.post(&path, &[("act", "new"), ("password", harness::person::PASSWORD)]).await;
    assert_eq!((bare.status, bare.code().as_str()), (403, "form_refused"));
    assert!(members(&tenant).await.is_empty());

    ann.accept(&link).await;
    let all = members(&tenant).await;
    assert_eq!((&all[0]["email"], &all[0]["admin_role"]), (&json!("ann@example.com"), &json!("developer")));
    ann.member = text(&all[0], "id");
    let account = ann.get("/account").await;
    assert!(account.page.contains("ann@example.com") && account.page.contains("acme"), "{account:?}");
    let records = tenant.audit("method=accept_invitation").await;
    assert_eq!(text(&records[0], "actor"), ann.member);

    let again = Person::new(&gateway, "ann@example.com").get(&path).await;
    assert_eq!((again.status, again.code().as_str()), (404, "invitation_invalid"), "it was good once");
    let twice = json!({"email": "ann@example.com", "admin_role": "user"});
    let refused = tenant.admin.post(&format!("{}/invitations", tenant.base), twice).await.unwrap_err();
    assert!(refused.to_string().contains("409"), "{refused}");
    let row: String =
        sqlx::query_scalar("SELECT a::text FROM accounts a").fetch_one(&mut conn).await.unwrap();
    assert!(row.contains("$argon2id$") && !row.contains("violet"), "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_ends_after_a_week_and_when_it_is_withdrawn() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let ann = Person::new(&gateway, "ann@example.com");
    let link = invite(&tenant, "ann@example.com", "user").await;
    let path = link.strip_prefix(ORIGIN).unwrap();
    let page = ann.get(path).await;
    sql(&gateway, "UPDATE invitations SET expires_at = expires_at - interval '7 days'").await.unwrap();
    assert_eq!(ann.get(path).await.code(), "invitation_invalid");
    let form = [("act", "new"), ("password", harness::person::PASSWORD)];
    let late = ann.submit(path, &page, &form).await;
    assert_eq!(late.code(), "invitation_invalid", "the page was opened in time, and sent too late");

    let link = invite(&tenant, "ann@example.com", "user").await;
    let all = tenant.admin.get(&format!("{}/invitations", tenant.base)).await.unwrap();
    let id = text(all["items"].as_array().unwrap().last().unwrap(), "id");
    tenant.admin.delete(&format!("{}/invitations/{id}", tenant.base)).await.unwrap();
    assert_eq!(ann.get(link.strip_prefix(ORIGIN).unwrap()).await.code(), "invitation_invalid");
    assert_eq!(ann.get("/invitations/pci_nothing").await.code(), "invitation_invalid");
    assert!(members(&tenant).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_of_two_tenants_has_one_account_of_which_neither_sees_the_other() {
    let gateway = Gateway::with_proxies(0).await;
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let ann = Person::join(&gateway, &acme, "ann@example.com").await;
    // Whoever has the link and not the password joins nothing, and changes nothing of the account.
    let link = invite(&other, "ann@example.com", "user").await;
    let path = link.strip_prefix(ORIGIN).unwrap();
    let thief = Person::new(&gateway, "ann@example.com");
    let page = thief.get(path).await;
    let form = [("act", "join"), ("tenant", "acme"), ("password", "another password 1")];
    let refused = thief.submit(path, &page, &form).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(members(&other).await.is_empty());
    ann.join_too(&link).await;
    let account = ann.get("/account").await.page;
    assert!(account.contains(">acme<") && account.contains(">other<"), "{account}");
    let (one, two) = (members(&acme).await, members(&other).await);
    assert_eq!((one.len(), two.len()), (1, 1));
    assert_ne!(one[0]["id"], two[0]["id"]);

    // No tenant's role sees an account or a session, or another tenant's members.
    for statement in [
        "SET ROLE portcullis_app; SELECT 1 FROM accounts",
        "SET ROLE portcullis_app; SELECT 1 FROM sessions",
        "SET ROLE portcullis_app; SELECT digest FROM invitations",
        "SET ROLE portcullis_people; SELECT admin_role FROM members",
        "SET ROLE portcullis_people; DELETE FROM members",
        "SET ROLE portcullis_ops; SELECT 1 FROM accounts",
        "SET ROLE portcullis_ops; SELECT 1 FROM members",
    ] {
        let refused = sql(&gateway, statement).await.unwrap_err().to_string();
        assert!(refused.contains("permission denied"), "{statement}: {refused}");
    }
    // Who is removed from one is signed in to the other still; who is of none is not signed in.
    acme.admin.delete(&format!("{}/members/{}", acme.base, text(&one[0], "id"))).await.unwrap();
    let account = ann.get("/account").await.page;
    assert!(!account.contains(">acme<") && account.contains(">other<"), "{account}");
    other.admin.delete(&format!("{}/members/{}", other.base, text(&two[0], "id"))).await.unwrap();
    assert!(ann.get("/account").await.page.contains("name=\"password\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_keeps_its_last_owner() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let ann = Person::join_as(&gateway, &tenant, "ann@example.com", "owner").await;
    let bob = Person::join_as(&gateway, &tenant, "bob@example.com", "owner").await;
    let path = |person: &Person| format!("{}/members/{}", tenant.base, person.member);
    tenant.admin.patch(&path(&bob), json!({"enabled": false})).await.unwrap();
    for change in [json!({"admin_role": "admin"}), json!({"enabled": false})] {
        let refused = tenant.admin.patch(&path(&ann), change).await.unwrap_err().to_string();
        assert!(refused.contains("409"), "{refused}");
    }
    let url = format!("{}{}", gateway.control_url, path(&ann));
    let token = secrecy::ExposeSecret::expose_secret(&tenant.admin_token);
    let refused = reqwest::Client::new().delete(url).bearer_auth(token).send().await.unwrap();
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["code"], "last_owner", "{refused}");
    tenant.admin.patch(&path(&bob), json!({"enabled": true})).await.unwrap();
    tenant.admin.patch(&path(&ann), json!({"admin_role": "user"})).await.unwrap();
    tenant.admin.delete(&path(&ann)).await.unwrap();
    let refused = tenant.admin.delete(&path(&bob)).await.unwrap_err().to_string();
    assert!(refused.contains("409"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_makes_or_ends_who_may_do_more_than_they() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let ann = Person::join_as(&gateway, &tenant, "ann@example.com", "owner").await;
    Person::join_as(&gateway, &tenant, "bob@example.com", "owner").await;
    let cy = Person::join(&gateway, &tenant, "cy@example.com").await;
    let scopes = json!({"name": "n", "scopes": ["members:read", "members:write"]});
    let token = SecretString::from(text(&tenant.post("/admin-tokens", scopes).await, "token"));
    let lesser = tenant.admin.with_token(token);
    let (invitations, member) = (format!("{}/invitations", tenant.base), format!("{}/members", tenant.base));
    for role in ["owner", "admin", "security", "developer", "auditor", "read_only"] {
        let asked = json!({"email": "new@example.com", "admin_role": role});
        let refused = lesser.post(&invitations, asked).await.unwrap_err().to_string();
        assert!(refused.contains("403"), "{role}: {refused}");
        let raised = lesser.patch(&format!("{member}/{}", cy.member), json!({"admin_role": role})).await;
        assert!(raised.unwrap_err().to_string().contains("403"), "{role}");
    }
    let owner = format!("{member}/{}", ann.member);
    assert!(
        lesser.patch(&owner, json!({"admin_role": "user"})).await.unwrap_err().to_string().contains("403")
    );
    assert!(lesser.delete(&owner).await.unwrap_err().to_string().contains("403"));
    let role = text(&tenant.post("/roles", json!({"name": "theirs"})).await, "id");
    assert!(
        lesser
            .put(&format!("{owner}/roles/{role}"), json!({}))
            .await
            .unwrap_err()
            .to_string()
            .contains("403")
    );
    let high = tenant.post("/invitations", json!({"email": "high@example.com", "admin_role": "owner"})).await;
    let high = format!("{invitations}/{}", text(&high, "id"));
    assert!(lesser.delete(&high).await.unwrap_err().to_string().contains("403"));
    lesser.post(&invitations, json!({"email": "new@example.com", "admin_role": "user"})).await.unwrap();
    lesser.patch(&format!("{member}/{}", cy.member), json!({"enabled": false})).await.unwrap();

    // What their agents may call, roles say.
    let role = text(&tenant.post("/roles", json!({"name": "readers"})).await, "id");
    let held = format!("{member}/{}/roles", cy.member);
    tenant.admin.put(&format!("{held}/{role}"), json!({})).await.unwrap();
    assert_eq!(tenant.admin.get(&held).await.unwrap()["items"][0]["name"], "readers");
    tenant.admin.delete(&format!("{held}/{role}")).await.unwrap();
    assert_eq!(tenant.admin.get(&held).await.unwrap()["items"], json!([]));
}
