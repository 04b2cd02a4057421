//! An account belongs to the tenant whose invitation made it, and joins others when its owner shows that it is theirs. No tenant takes an
//! address from another, opens an account of another, or learns who has one.

use harness::{
    Gateway, Person, Tenant, eventually,
    person::{ORIGIN, Shown, invite},
    text,
};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

const CEO: &str = "ceo@victim.example";

/// Where accounts with the address are at home.
async fn homes(gateway: &Gateway, email: &str) -> Vec<String> {
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    sqlx::query_scalar(
        "SELECT t.slug FROM accounts a JOIN tenants t ON t.id = a.home_tenant_id WHERE a.email = $1 ORDER BY 1",
    )
    .bind(email)
    .fetch_all(&mut conn)
    .await
    .unwrap()
}

async fn sql(gateway: &Gateway, statement: &'static str) {
    let mut conn = PgConnection::connect(&gateway.database_url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut conn).await.unwrap();
}

async fn members(tenant: &Tenant) -> usize {
    let page = tenant.admin.get(&format!("{}/members", tenant.base)).await.unwrap();
    page["items"].as_array().unwrap().len()
}

async fn remove(tenant: &Tenant, email: &str) {
    let page = tenant.admin.get(&format!("{}/members", tenant.base)).await.unwrap();
    let all = page["items"].as_array().unwrap();
    let id = text(all.iter().find(|member| member["email"] == email).unwrap(), "id");
    tenant.admin.delete(&format!("{}/members/{id}", tenant.base)).await.unwrap();
}

fn path(link: &str) -> &str {
    link.strip_prefix(ORIGIN).unwrap()
}

/// Signs in on the page of the account, in another browser than before.
async fn signs_in(gateway: &Gateway, like: &Person, organisation: &str) -> (u16, Person) {
    let mut person = Person::new(gateway, &like.email);
    person.password.clone_from(&like.password);
    organisation.clone_into(&mut person.organisation);
    (person.sign_in("/account").await.status, person)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_first_with_an_address_has_it_in_no_other_tenant() {
    let gateway = Gateway::with_proxies(0).await;
    let (mallory, acme) = (gateway.tenant("mallory").await, gateway.tenant("acme").await);
    // Mallory invites an address that is not hers, and accepts.
    let mut squatter = Person::join_as(&gateway, &mallory, CEO, "owner").await;
    squatter.password = "violet tractor 17".to_owned();
    // Its owner joins Acme as if nothing had happened, and is its owner with a password that nobody else knows.
    let mut ceo = Person::new(&gateway, CEO);
    ceo.password = "an orange elephant".to_owned();
    ceo.accept(&invite(&acme, CEO, "owner").await).await;
    assert_eq!(homes(&gateway, CEO).await, ["acme", "mallory"]);
    let account = ceo.get("/account").await.page;
    assert!(account.contains(">acme<") && !account.contains(">mallory<"), "{account}");

    // What Mallory knows opens nothing of Acme's, whichever way.
    assert_eq!(signs_in(&gateway, &squatter, "acme").await.0, 401);
    let endpoint = acme.post("/endpoints", json!({"slug": "tools", "name": "n"})).await;
    let app = harness::App::public(&gateway, &acme, "app", &[&text(&endpoint, "id")]).await;
    let ask = app.ask("http://127.0.0.1:3/acme/tools/mcp", &[]);
    assert_eq!(Person::new(&gateway, CEO).sign_in(&ask).await.status, 401, "at Acme's issuer");
    let stranger = squatter.get(&ask).await;
    assert_eq!(stranger.status, 403, "with a session: {stranger:?}");
    let (status, other) = signs_in(&gateway, &squatter, "mallory").await;
    assert_eq!(status, 303, "she is who she is at her own");
    let account = other.get("/account").await.page;
    assert!(account.contains(">mallory<") && !account.contains(">acme<"), "{account}");
    assert_eq!(signs_in(&gateway, &ceo, "mallory").await.0, 401, "and the other way round");
    assert_eq!(signs_in(&gateway, &ceo, "acme").await.0, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_does_not_say_who_has_an_account() {
    let gateway = Gateway::with_proxies(0).await;
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    Person::join(&gateway, &acme, "known@example.com").await;
    let mut shown: Vec<Vec<(u16, String)>> = Vec::new();
    for email in ["known@example.com", "nobody@example.com"] {
        let link = invite(&other, email, "user").await;
        let path = path(&link);
        let mut person = Person::new(&gateway, email);
        person.password = "not the password".to_owned();
        let page = person.get(path).await;
        let plain = |shown: &Shown| {
            let page = shown.page.replace(&page.field("form"), "").replace(path, "").replace(email, "");
            (shown.status, page)
        };
        let join = [("act", "join"), ("tenant", "acme"), ("password", "not the password")];
        let weak = [("act", "new"), ("password", "short")];
        let (join, weak) = (person.submit(path, &page, &join).await, person.submit(path, &page, &weak).await);
        let new = person.submit(path, &page, &[("act", "new"), ("password", "violet tractor 17")]).await;
        assert_eq!((join.status, weak.status, new.status), (422, 422, 303));
        shown.push([&page, &join, &weak, &new].map(plain).to_vec());
    }
    assert_eq!(shown[0], shown[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_joins_another_tenant_when_its_owner_shows_that_it_is_theirs() {
    let gateway = Gateway::with_proxies(0).await;
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let (third, fourth) = (gateway.tenant("third").await, gateway.tenant("fourth").await);
    let ann = Person::join(&gateway, &acme, "ann@example.com").await;
    let bob = Person::join(&gateway, &acme, "bob@example.com").await;
    let signed_in = [("act", "join_signed_in")];

    // Somebody else's session, and one of long ago, show nothing.
    let link = invite(&other, "ann@example.com", "user").await;
    for (why, person) in [("another's", &bob), ("nobody's", &Person::new(&gateway, "x@example.com"))] {
        let refused = person.answer(&link, &signed_in).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "form_refused"), "{why}");
    }
    sql(&gateway, "UPDATE sessions SET signed_in_at = signed_in_at - interval '11 minutes'").await;
    let page = ann.get(path(&link)).await.page;
    assert!(!page.contains("join_signed_in"), "{page}");
    assert_eq!(ann.answer(&link, &signed_in).await.code(), "form_refused");
    // Neither does the password in an organisation in which it is nobody's.
    for organisation in ["other", "nothing", ""] {
        let refused = ann.answer(&link, &[("act", "join"), ("tenant", organisation)]).await;
        assert_eq!(refused.status, 422, "{organisation}: {refused:?}");
    }
    assert_eq!(members(&other).await, 0);

    ann.join_too(&link).await;
    assert_eq!(homes(&gateway, "ann@example.com").await, ["acme"], "one account");
    let link = invite(&third, "ann@example.com", "user").await;
    assert!(ann.get(path(&link)).await.page.contains("join_signed_in"), "she has just signed in");
    assert_eq!(ann.answer(&link, &signed_in).await.status, 303);
    // One sign-in, in whichever, for all.
    for organisation in ["acme", "other", "third"] {
        let (status, browser) = signs_in(&gateway, &ann, organisation).await;
        assert_eq!(status, 303, "{organisation}");
        let page = browser.get("/account").await.page;
        assert!([">acme<", ">other<", ">third<"].iter().all(|slug| page.contains(slug)), "{page}");
    }
    // And whoever wants two has two.
    ann.accept(&invite(&fourth, "ann@example.com", "user").await).await;
    assert_eq!(homes(&gateway, "ann@example.com").await, ["acme", "fourth"]);
    let page = ann.get("/account").await.page;
    assert!(page.contains(">fourth<") && !page.contains(">acme<"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_switched_off_or_suspended_does_not_sign_in_there() {
    let gateway = Gateway::with_proxies(0).await;
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let ann = Person::join(&gateway, &acme, "ann@example.com").await;
    ann.join_too(&invite(&other, "ann@example.com", "user").await).await;
    let member = format!("{}/members/{}", acme.base, ann.member);
    acme.admin.patch(&member, json!({"enabled": false})).await.unwrap();
    assert_eq!(signs_in(&gateway, &ann, "acme").await.0, 401);
    gateway.operator.patch(&other.base, json!({"suspended": true})).await.unwrap();
    assert_eq!(signs_in(&gateway, &ann, "other").await.0, 401);
    gateway.operator.patch(&other.base, json!({"suspended": false})).await.unwrap();
    assert_eq!(signs_in(&gateway, &ann, "other").await.0, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_goes_with_its_last_tenant_and_moves_when_its_home_does() {
    let gateway = Gateway::with_proxies(0).await;
    let (first, second) = (gateway.tenant("first").await, gateway.tenant("second").await);
    let third = gateway.tenant("third").await;
    let ann = Person::join(&gateway, &first, "ann@example.com").await;
    Person::join(&gateway, &first, "bob@example.com").await;
    let cy = Person::join(&gateway, &first, "cy@example.com").await;
    ann.join_too(&invite(&third, "ann@example.com", "user").await).await;
    ann.join_too(&invite(&second, "ann@example.com", "user").await).await;
    cy.join_too(&invite(&second, "cy@example.com", "user").await).await;

    // Removed from their home.
    remove(&first, "cy@example.com").await;
    assert_eq!(homes(&gateway, "cy@example.com").await, ["second"]);
    remove(&second, "cy@example.com").await;
    assert_eq!(homes(&gateway, "cy@example.com").await, Vec::<String>::new(), "of nobody");
    assert!(cy.get("/account").await.page.contains("name=\"password\""), "and signed in no more");
    // Removed from elsewhere.
    remove(&second, "ann@example.com").await;
    assert_eq!(homes(&gateway, "ann@example.com").await, ["first"]);
    ann.join_too(&invite(&second, "ann@example.com", "user").await).await;

    gateway.operator.delete(&first.base).await.unwrap();
    assert_eq!(homes(&gateway, "bob@example.com").await, Vec::<String>::new(), "he was nowhere else");
    assert_eq!(homes(&gateway, "ann@example.com").await, ["third"], "where she has been longest");
    assert!(ann.get("/account").await.page.contains(">third<"));
    assert_eq!(signs_in(&gateway, &ann, "second").await.0, 303);
    assert_eq!(signs_in(&gateway, &ann, "first").await.0, 401);
    gateway.operator.delete(&second.base).await.unwrap();
    gateway.operator.delete(&third.base).await.unwrap();
    assert_eq!(homes(&gateway, "ann@example.com").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn links_that_are_opened_at_once_make_one_member_each() {
    let gateway = Gateway::with_proxies(0).await;
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let answer = async |link: &str| {
        let shown = Person::new(&gateway, "ann@example.com").answer(link, &[("act", "new")]).await;
        (shown.status, shown.code())
    };
    let gone = (404, "invitation_invalid".to_owned());
    // One link, and two links of one tenant for one address.
    let twice = invite(&acme, "ann@example.com", "user").await;
    let second = invite(&acme, "ann@example.com", "admin").await;
    let (one, two, three) = tokio::join!(answer(&twice), answer(&twice), answer(&second));
    let all = [one, two, three];
    assert_eq!(all.iter().filter(|(status, _)| *status == 303).count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|refused| **refused == gone).count(), 2, "{all:?}");
    assert_eq!((members(&acme).await, homes(&gateway, "ann@example.com").await.len()), (1, 1));
    // Two tenants, one new address: each has its own.
    let (here, there) =
        (invite(&acme, "bob@example.com", "user").await, invite(&other, "bob@example.com", "user").await);
    let bob = async |link: &str| {
        Person::new(&gateway, "bob@example.com").answer(link, &[("act", "new")]).await.status
    };
    assert_eq!(tokio::join!(bob(&here), bob(&there)), (303, 303));
    assert_eq!(homes(&gateway, "bob@example.com").await, ["acme", "other"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_that_joins_while_its_home_is_deleted_is_whole_or_gone() {
    let gateway = Gateway::with_proxies(0).await;
    let other = gateway.tenant("other").await;
    for n in 0..6 {
        let slug = format!("home-{n}");
        let home = gateway.tenant(&slug).await;
        let email = format!("p{n}@example.com");
        let person = Person::join(&gateway, &home, &email).await;
        let link = invite(&other, &email, "user").await;
        let before = members(&other).await;
        let join = [("act", "join"), ("tenant", slug.as_str())];
        let delete = async {
            tokio::time::sleep(std::time::Duration::from_millis(20 * n)).await;
            gateway.operator.delete(&home.base).await
        };
        let (joined, deleted) = tokio::join!(person.answer(&link, &join), delete);
        if deleted.is_err() {
            eventually("it is deleted", async || gateway.operator.delete(&home.base).await.is_ok()).await;
        }
        let homes = homes(&gateway, &email).await;
        let is_member = members(&other).await > before;
        assert_eq!(homes, if is_member { vec!["other".to_owned()] } else { vec![] }, "{joined:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_password_is_replaced_by_a_link_of_an_owner_and_in_no_other_tenant() {
    let gateway = Gateway::with_proxies(0).await;
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let mut ann = Person::join_as(&gateway, &acme, "ann@example.com", "auditor").await;
    let admin = ann.administer(&gateway, "acme").await;
    let reset = format!("{}/members/{}/password-reset", acme.base, ann.member);
    // Only who may all that an owner may.
    let less = json!({"name": "less", "scopes": ["*:read", "members:write"]});
    let less = acme.admin.with_token(text(&acme.post("/admin-tokens", less).await, "token").into());
    assert!(less.post(&reset, json!({})).await.unwrap_err().to_string().contains("403"));
    let first = text(&acme.admin.post(&reset, json!({})).await.unwrap(), "link");
    let link = text(&acme.admin.post(&reset, json!({})).await.unwrap(), "link");
    let listed = acme.admin.get(&format!("{}/invitations", acme.base)).await.unwrap();
    assert_eq!(listed["items"], json!([]), "it is no invitation");
    assert_eq!(ann.get(path(&first)).await.code(), "invitation_invalid", "there is one at a time");
    let mut there = Person::new(&gateway, "ann@example.com");
    let page = there.get(path(&link)).await;
    assert!(page.page.contains("Choose another password") && page.page.contains("acme"), "{page:?}");
    for form in [[("act", "new"), ("password", "an orange elephant")], [("act", "join"), ("tenant", "acme")]]
    {
        assert_eq!(there.submit(path(&link), &page, &form).await.code(), "form_refused");
    }
    assert_eq!(
        there.submit(path(&link), &page, &[("act", "reset"), ("password", "short")]).await.status,
        422
    );
    assert_eq!(admin.get("/v1/session").await.0, 200, "nothing has changed yet");
    there.password = "an orange elephant".to_owned();
    assert_eq!(there.answer(&link, &[("act", "reset")]).await.status, 303);
    assert_eq!(admin.get("/v1/session").await.0, 401, "what went by the one before has ended");
    assert!(ann.get("/account").await.page.contains("name=\"password\""));
    assert_eq!(
        (signs_in(&gateway, &ann, "acme").await.0, signs_in(&gateway, &there, "acme").await.0),
        (401, 303)
    );
    assert_eq!(there.get(path(&link)).await.code(), "invitation_invalid", "it was good once");
    let records = acme.audit("method=reset_password").await;
    assert_eq!((records.len(), text(&records[0], "actor")), (1, ann.member.clone()));
    assert_eq!(acme.audit("method=create_password_reset").await.len(), 2);

    // Who is a member elsewhere has another account here from then on, and keeps the password there.
    there.join_too(&invite(&other, "ann@example.com", "owner").await).await;
    ann.password = "a third purple one".to_owned();
    let link = text(&acme.admin.post(&reset, json!({})).await.unwrap(), "link");
    let mut mallory = Person::new(&gateway, "ann@example.com");
    mallory.password.clone_from(&ann.password);
    assert_eq!(mallory.answer(&link, &[("act", "reset")]).await.status, 303);
    assert_eq!(signs_in(&gateway, &mallory, "acme").await.0, 303);
    assert_eq!(signs_in(&gateway, &mallory, "other").await.0, 401, "Acme opens nothing of another tenant");
    let page = mallory.get("/account").await.page;
    assert!(page.contains(">acme<") && !page.contains(">other<"), "{page}");
    assert_eq!(
        (signs_in(&gateway, &there, "other").await.0, signs_in(&gateway, &there, "acme").await.0),
        (303, 401)
    );
    assert!(there.get("/account").await.page.contains(">other<"), "a session there goes on");
    assert_eq!(homes(&gateway, "ann@example.com").await, ["acme", "other"]);
    assert_eq!(members(&acme).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_owners_who_remove_each_other_at_once_leave_one() {
    let gateway = Gateway::with_proxies(0).await;
    for n in 0..5 {
        let tenant = gateway.tenant(&format!("tenant-{n}")).await;
        let one = Person::join_as(&gateway, &tenant, "one@example.com", "owner").await;
        let two = Person::join_as(&gateway, &tenant, "two@example.com", "owner").await;
        let path = |person: &Person| format!("{}/members/{}", tenant.base, person.member);
        let (first, second) = (path(&one), path(&two));
        let (first, second) = tokio::join!(tenant.admin.delete(&first), tenant.admin.delete(&second));
        assert_ne!(first.is_ok(), second.is_ok(), "{first:?} {second:?}");
        assert_eq!(members(&tenant).await, 1);
    }
}
