//! R1, R7, R20, R50 (RFC 5280, RFC 8705): a client certificate opens an endpoint that names the authority that has issued it, for the client
//! that the tenant's rules say, and on no connection more than that; a token that is bound to one needs it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use harness::{Answer, Caller, Endpoint, Gateway, Machine, Tenant, Upstream, eventually, forge, text, tool};
use listen::{
    files::{CertificateFiles, Tls},
    tls::Floor,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

const AGENT: &str = "spiffe://acme.example/agent";

/// An authority of callers' certificates.
pub(crate) fn authority(client: &str) -> Value {
    json!({"name": "n", "ca_pem": Ca::new().pem, "callers": [{"uri": AGENT, "client_id": client}]})
}

/// A certificate of a domain's own authority.
pub(crate) fn certificate(name: &str) -> Value {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    json!({"chain": made.cert.pem(), "key": made.signing_key.serialize_pem()})
}

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
struct Shown {
    pem: String,
    digest: [u8; 32],
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// For `AGENT`, now, as a client's, number 7; unless changed.
    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Shown {
        let mut params = CertificateParams::new([]).unwrap();
        params.subject_alt_names = vec![SanType::URI(AGENT.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(7_u64));
        params.not_before = OffsetDateTime::now_utc() - Duration::days(2);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(1);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        let digest = crypto::digest::sha256(made.der());
        Shown { pem: format!("{}{}", made.pem(), key.serialize_pem()), digest }
    }

    /// A list of revoked certificates, which is to be replaced after so long.
    fn list(&self, revoked: &[u64], after: Duration) -> String {
        let now = OffsetDateTime::now_utc() - Duration::days(1);
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: now + Duration::days(1) + after,
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

struct Scene {
    gateway: Gateway,
    tenant: Tenant,
    endpoint: Endpoint,
    upstream: Upstream,
    ca: Ca,
    authority: String,
    root: reqwest::Certificate,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let mut gateway = Gateway::with_proxies(0).await;
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let files = CertificateFiles { chain: dir.path().join("chain.pem"), key: dir.path().join("key.pem") };
        std::fs::write(&files.chain, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        gateway.tls = Some(Tls { certificates: vec![files], floor: Floor::Tls13 });
        gateway.add_proxy().await;
        let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let upstream = Upstream::start(vec![tool("echo", "Says it back")]).await;
        let tenant = gateway.tenant("acme").await;
        let ca = Ca::new();
        let (endpoint, authority) = Self::trusting(&tenant, &upstream, &ca).await;
        Self { gateway, tenant, endpoint, upstream, ca, authority, root, _dir: dir }
    }

    /// An endpoint that takes certificates of `ca`, and who is `AGENT` there.
    async fn trusting(tenant: &Tenant, upstream: &Upstream, ca: &Ca) -> (Endpoint, String) {
        let endpoint = tenant.endpoint("tools", upstream).await;
        tenant.grant(&endpoint, &["echo"]).await;
        let callers = json!([{"uri": AGENT, "client_id": endpoint.client}, {"dns": "agent.acme.example", "client_id": endpoint.client}]);
        let settings = json!({"name": "Own", "ca_pem": ca.pem, "callers": callers});
        let authority = text(&tenant.post("/client-authorities", settings).await, "id");
        let change = json!({"accepts": ["api_key", "access_token", "client_certificate"], "client_authorities": [authority]});
        let path = format!("{}/endpoints/{}?wait=applied", tenant.base, endpoint.id);
        tenant.admin.patch(&path, change).await.unwrap();
        (endpoint, authority)
    }

    /// A program that shows this when it connects; `keeps`: it calls over one connection.
    fn http(&self, shown: Option<&Shown>, keeps: bool) -> reqwest::Client {
        let mut builder = reqwest::Client::builder().no_proxy().tls_certs_only([self.root.clone()]);
        if let Some(shown) = shown {
            builder = builder.identity(reqwest::Identity::from_pem(shown.pem.as_bytes()).unwrap());
        }
        if !keeps {
            builder = builder.pool_max_idle_per_host(0);
        }
        builder.build().unwrap()
    }

    fn caller(&self, endpoint: &Endpoint, http: reqwest::Client) -> Caller {
        let url = format!("https://{}{}", self.gateway.proxies[0].gateway_addr(), endpoint.path);
        Caller::anonymous(&url).over(http)
    }

    async fn show(&self, shown: &Shown) -> Answer {
        self.caller(&self.endpoint, self.http(Some(shown), false)).call("echo").await
    }

    async fn change(&self, change: Value) {
        let path = format!("{}/client-authorities/{}?wait=applied", self.tenant.base, self.authority);
        self.tenant.admin.patch(&path, change).await.unwrap();
    }
}

fn refused(answer: &Answer, why: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_invalid"), "{why}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_opens_what_the_client_may_that_a_name_in_it_stands_for() {
    let scene = Scene::new().await;
    let good = scene.ca.issue(|_| {});
    let answer = scene.show(&good).await;
    assert_eq!((answer.status, answer.tool_text()), (200, "ok: echo".to_owned()), "{answer:?}");
    let host = scene.ca.issue(|params| {
        params.subject_alt_names = vec![SanType::DnsName("agent.acme.example".try_into().unwrap())];
    });
    assert_eq!(scene.show(&host).await.status, 200);
    eventually("the record says how", async || {
        let records = scene.tenant.audit("method=tools/call&phase=outcome").await;
        records.iter().any(|record| {
            record["credential"] == "client_certificate"
                && record["certificate_digest"] == hex::encode(good.digest)
                && record["client_id"] == scene.endpoint.client.as_str()
                && record["key_id"].is_null()
        })
    })
    .await;
    let alone = json!({"accepts": ["client_certificate"]});
    let path = format!("{}/endpoints/{}?wait=applied", scene.tenant.base, scene.endpoint.id);
    scene.tenant.admin.patch(&path, alone).await.unwrap();
    let nobody = scene.caller(&scene.endpoint, scene.http(None, false));
    // What a balancer would say of a certificate is nothing here.
    let forged = nobody
        .clone()
        .with_header("client-cert", ":AAAA:")
        .with_header("x-forwarded-client-cert", &good.pem.replace('\n', ""));
    for caller in [nobody, forged] {
        let answer = caller.call("echo").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"), "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), r#"TLS-Client-Certificate realm="portcullis""#);
    }
    for accepts in [json!(["api_key"]), json!(["access_token", "basic"])] {
        scene.tenant.admin.patch(&path, json!({"accepts": accepts})).await.unwrap();
        assert_eq!(scene.show(&good).await.code(), "credential_missing", "{accepts}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_looks_like_a_certificate_of_the_authority_is_none() {
    let scene = Scene::new().await;
    let other = Ca::new();
    let now = OffsetDateTime::now_utc();
    for (why, shown) in [
        ("another authority's", other.issue(|_| {})),
        ("over", scene.ca.issue(|params| params.not_after = now - Duration::hours(1))),
        ("not yet", scene.ca.issue(|params| params.not_before = now + Duration::hours(1))),
        (
            "a server's",
            scene.ca.issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
    ] {
        refused(&scene.show(&shown).await, why);
    }
    // Good, and nobody's: names are alternative names, letter by letter.
    let named = |name: SanType| scene.ca.issue(|params| params.subject_alt_names = vec![name]);
    for (why, shown) in [
        ("another URI", named(SanType::URI("spiffe://acme.example/agent/".try_into().unwrap()))),
        ("the URI as a host", named(SanType::DnsName("spiffe".try_into().unwrap()))),
        ("a wildcard", named(SanType::DnsName("*.acme.example".try_into().unwrap()))),
        (
            "a common name",
            scene.ca.issue(|params| {
                params.subject_alt_names = Vec::new();
                params.distinguished_name.push(DnType::CommonName, "agent.acme.example");
            }),
        ),
    ] {
        let answer = scene.show(&shown).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "caller_not_mapped"), "{why}: {answer:?}");
    }
    // Whoever shows a credential beside is who that says, or nobody.
    let good = scene.ca.issue(|_| {});
    let both = scene.caller(&scene.endpoint, scene.http(Some(&good), false));
    refused(
        &both.clone().with_header("authorization", "Bearer pck_short").call("echo").await,
        "a wrong key beside",
    );
    let key = format!("Bearer {}", scene.endpoint.key.expose_secret());
    assert_eq!(both.with_header("authorization", &key).call("echo").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_carries_nobody_to_another_tenant() {
    let scene = Scene::new().await;
    let other = scene.gateway.tenant("other").await;
    let theirs = Ca::new();
    let (foreign, _) = Scene::trusting(&other, &scene.upstream, &theirs).await;
    for (shown, opens, not) in [
        (scene.ca.issue(|_| {}), &scene.endpoint, &foreign),
        (theirs.issue(|_| {}), &foreign, &scene.endpoint),
    ] {
        // One program, one connection, HTTP/2.
        let http = scene.http(Some(&shown), true);
        let (there, here) = (scene.caller(not, http.clone()), scene.caller(opens, http));
        for _ in 0..3 {
            assert_eq!(here.call("echo").await.status, 200);
            refused(&there.call("echo").await, "at the other tenant's");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_ends_with_all_it_rests_on() {
    let scene = Scene::new().await;
    let good = scene.ca.issue(|_| {});
    let kept = scene.caller(&scene.endpoint, scene.http(Some(&good), true));
    // Sessions are resumed here: each call is a connection of its own.
    let resuming = scene.caller(&scene.endpoint, scene.http(Some(&good), false));
    let both = async |status: u16, why: &str| {
        assert_eq!(kept.call("echo").await.status, status, "{why}");
        assert_eq!(resuming.call("echo").await.status, status, "{why}, resumed");
    };
    both(200, "at first").await;
    scene.change(json!({"crl_pem": scene.ca.list(&[8], Duration::days(1))})).await;
    both(200, "another is revoked").await;
    scene.change(json!({"crl_pem": scene.ca.list(&[7, 8], Duration::days(1))})).await;
    both(401, "revoked").await;
    scene.change(json!({"crl_pem": scene.ca.list(&[8], -Duration::hours(1))})).await;
    both(401, "the list is stale").await;
    scene.change(json!({"stale_lists": "accept"})).await;
    both(200, "stale lists count").await;
    scene.change(json!({"crl_pem": Ca::new().list(&[], Duration::days(1))})).await;
    both(401, "a list of somebody else's says nothing of it").await;
    scene.change(json!({"crl_pem": null, "callers": []})).await;
    both(403, "nobody's").await;
    let callers = json!([{"uri": AGENT, "client_id": scene.endpoint.client}]);
    scene.change(json!({"callers": callers, "enabled": false})).await;
    both(401, "the authority is switched off").await;
    scene.change(json!({"enabled": true})).await;
    both(200, "and on").await;
    let client = format!("{}/clients/{}?wait=applied", scene.tenant.base, scene.endpoint.client);
    scene.tenant.admin.patch(&client, json!({"enabled": false})).await.unwrap();
    both(401, "its client is switched off").await;
    scene.tenant.admin.patch(&client, json!({"enabled": true})).await.unwrap();
    both(200, "and on").await;
    scene.change(json!({"ca_pem": Ca::new().pem})).await;
    both(401, "another authority").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_bound_to_a_certificate_needs_it() {
    let scene = Scene::new().await;
    scene.tenant.post("/signing-keys", json!({})).await;
    let machine = Machine::new(&scene.gateway, &scene.tenant, "machine", &[&scene.endpoint.id]).await;
    let theirs = Endpoint { client: machine.client.clone(), ..scene.endpoint.clone() };
    scene.tenant.grant(&theirs, &["echo"]).await;
    let token = machine.token().await;
    let (good, other) = (scene.ca.issue(|_| {}), scene.ca.issue(|_| {}));
    let cnf = json!({"cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode(good.digest)}});
    let bound = forge::altered(&scene.gateway, &scene.tenant, &token, cnf).await;
    let bearer = format!("Bearer {bound}");
    let with = |shown: Option<&Shown>| {
        scene.caller(&scene.endpoint, scene.http(shown, false)).with_header("authorization", &bearer)
    };
    assert_eq!(with(Some(&good)).call("echo").await.status, 200);
    refused(&with(Some(&other)).call("echo").await, "another certificate");
    refused(&with(None).call("echo").await, "none");
    let forged = with(None).with_header("client-cert", &format!(":{}:", good.pem.replace('\n', "")));
    refused(&forged.call("echo").await, "a header");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_is_known_only_as_it_can_be() {
    let gateway = Gateway::with_proxies(0).await;
    let tenant = gateway.tenant("acme").await;
    let client = text(&tenant.post("/clients", json!({"name": "agent"})).await, "id");
    let good = authority(&client);
    let path = format!("{}/client-authorities", tenant.base);
    let no_client = "cl_01hzy3v5d1f4m8q2w6x9c0b7ka";
    for (field, value) in [
        ("ca_pem", json!("")),
        ("ca_pem", json!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
        ("crl_pem", json!("none")),
        ("stale_lists", json!("sometimes")),
        ("callers", json!([{"uri": "a", "dns": "b", "client_id": client}])),
        ("callers", json!([{"client_id": client}])),
        ("callers", json!([{"dns": "A.example", "client_id": client}])),
        ("callers", json!([{"uri": "a", "client_id": no_client}])),
    ] {
        let mut wrong = good.clone();
        wrong[field] = value;
        let refused = tenant.admin.post(&path, wrong).await.unwrap_err().to_string();
        assert!(refused.contains("422") || refused.contains("400"), "{field}: {refused}");
    }
    tenant.post("/client-authorities", good).await;
    let endpoint = json!({"slug": "new", "name": "new", "accepts": ["client_certificate"]});
    let path = format!("{}/endpoints", tenant.base);
    assert!(tenant.admin.post(&path, endpoint).await.unwrap_err().to_string().contains("422"), "whose?");
}
