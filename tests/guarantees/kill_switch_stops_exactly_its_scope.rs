//! R62: eight levels, each of which stops exactly what it names, everywhere, until it is lifted.

use std::collections::BTreeMap;

use harness::{Caller, Endpoint, Gateway, Tenant, Upstream, text, tool};
use serde_json::{Value, json};

/// Everybody who calls something, by name.
type Callers = BTreeMap<&'static str, (Caller, &'static str)>;

struct World {
    gateway: Gateway,
    acme: Tenant,
    endpoint: Endpoint,
    echo_id: String,
    callers: Callers,
}

async fn second_key(tenant: &Tenant, client: &str) -> String {
    text(
        &tenant.post(&format!("/clients/{client}/keys?wait=applied"), json!({"name": "second"})).await,
        "key",
    )
}

/// Endpoint A with two tools, called with two keys of one client and by a second client; the same upstream by way of another
/// endpoint; endpoint B of the same tenant; another tenant.
async fn world(proxies: usize) -> World {
    let gateway = Gateway::with_proxies(proxies).await;
    let tools = || vec![tool("echo", "Says it back"), tool("add", "Adds")];
    let (first, second, third) =
        (Upstream::start(tools()).await, Upstream::start(tools()).await, Upstream::start(tools()).await);
    let (acme, other) = (gateway.tenant("acme").await, gateway.tenant("other").await);
    let a = acme.endpoint("a-tools", &first).await;
    let b = acme.endpoint("b-tools", &second).await;
    let foreign = other.endpoint("a-tools", &third).await;
    for (tenant, endpoint) in [(&acme, &a), (&acme, &b), (&other, &foreign)] {
        tenant.grant(endpoint, &["echo", "add"]).await;
    }

    let via = text(&acme.post("/endpoints", json!({"slug": "via", "name": "via"})).await, "id");
    acme.post(&format!("/endpoints/{via}/upstreams"), json!({"upstream_id": a.upstream, "prefix": ""})).await;
    let relation = async |client: &str, endpoint: &str| {
        let path = format!("{}/clients/{client}/endpoints/{endpoint}?wait=applied", acme.base);
        acme.admin.put(&path, json!({})).await.unwrap();
    };
    relation(&a.client, &via).await;
    let machine = text(&acme.post("/clients", json!({"name": "machine"})).await, "id");
    relation(&machine, &a.id).await;
    let grant = json!({
        "subject": {"client": machine},
        "actions": [{"action": "call_tool", "upstream": a.upstream, "tools": {"names": ["echo"]}}]
    });
    acme.post("/grants?wait=applied", grant).await;

    let (again, machine) = (second_key(&acme, &a.client).await, second_key(&acme, &machine).await);
    let callers = [
        ("a echo", (a.caller(), "echo")),
        ("a add", (a.caller(), "add")),
        ("a second key", (Caller::new(&a.url, &again), "echo")),
        ("a machine", (Caller::new(&a.url, &machine), "echo")),
        ("via", (a.caller().at(&a.url.replace("a-tools", "via")), "echo")),
        ("b", (b.caller(), "echo")),
        ("other", (foreign.caller(), "echo")),
    ];
    let path = format!("{}/tools?upstream_id={}", acme.base, a.upstream);
    let tools = acme.admin.get(&path).await.unwrap();
    let echo = tools["items"].as_array().unwrap().iter().find(|tool| tool["name"] == "echo").unwrap();
    let echo_id = text(echo, "id");
    World { callers: callers.into_iter().collect(), echo_id, endpoint: a, acme, gateway }
}

impl World {
    /// Each level with what it names and whom it stops.
    fn cases(&self) -> Vec<(&'static str, Value, Vec<&'static str>)> {
        let own = ["a add", "a echo", "a machine", "a second key", "b", "via"];
        let client = vec!["a add", "a echo", "a second key", "via"];
        let endpoint = &self.endpoint;
        vec![
            ("fleet", json!(null), self.callers.keys().copied().collect()),
            ("tenant", json!(null), own.to_vec()),
            ("endpoint", json!(endpoint.id), vec!["a add", "a echo", "a machine", "a second key"]),
            (
                "upstream",
                json!(endpoint.upstream),
                vec!["a add", "a echo", "a machine", "a second key", "via"],
            ),
            ("tool", json!(self.echo_id), vec!["a echo", "a machine", "a second key", "via"]),
            ("client", json!(endpoint.client), client.clone()),
            ("key", json!(endpoint.key_id), vec!["a add", "a echo", "via"]),
            ("principal", json!(endpoint.client), client),
        ]
    }

    /// Who is refused as killed at this proxy; everybody else must be served.
    async fn stopped(&self, proxy: usize) -> Vec<&'static str> {
        let mut stopped = Vec::new();
        for (name, (caller, tool)) in &self.callers {
            let answer = caller.clone().at(&self.at(caller, proxy)).call(tool).await;
            match answer.code().as_str() {
                "killed" => stopped.push(*name),
                _ => assert_eq!(answer.tool_text(), format!("ok: {tool}"), "{name}: {answer:?}"),
            }
        }
        stopped
    }

    fn at(&self, caller: &Caller, proxy: usize) -> String {
        caller.url().replace(&self.gateway.url(0), &self.gateway.url(proxy))
    }

    /// A kill's body for an operator.
    fn order(&self, level: &str, target: &Value) -> Value {
        let mut order = json!({"level": level, "reason": "an incident"});
        if level != "fleet" {
            order["tenant_id"] = json!(self.acme.id);
        }
        if !target.is_null() {
            order["target"] = target.clone();
        }
        order
    }
}

#[tokio::test]
async fn each_level_stops_exactly_its_scope_at_every_proxy_until_it_is_lifted() {
    let world = world(2).await;
    let operator = &world.gateway.operator;
    for proxy in [0, 1] {
        assert_eq!(world.stopped(proxy).await, Vec::<&str>::new());
    }
    for (level, target, expected) in world.cases() {
        let kill = operator.post("/v1/kills?wait=applied", world.order(level, &target)).await.unwrap();
        assert_eq!(kill["acknowledgement"]["acknowledged"], 2, "{level}: {kill}");
        assert!(kill["acknowledgement"]["slowest_seconds"].as_f64().unwrap() >= 0.0, "{kill}");
        assert_eq!(kill["acknowledgement"]["proxies"].as_array().unwrap().len(), 2);
        // After the acknowledgement, and so at once: nothing is waited for.
        for proxy in [0, 1] {
            assert_eq!(world.stopped(proxy).await, expected, "{level}");
        }
        let lift = json!({"reason": "it is over", "epoch": kill["epoch"]});
        let path = format!("/v1/kills/{}/lift?wait=applied", text(&kill, "id"));
        let lifted = operator.post(&path, lift).await.unwrap();
        assert_eq!(lifted["lift_acknowledgement"]["acknowledged"], 2, "{level}: {lifted}");
        assert_eq!(world.stopped(0).await, Vec::<&str>::new(), "{level}, lifted");
    }
}

/// Before the body is parsed a refusal is HTTP; afterwards clients read JSON-RPC alone.
#[tokio::test]
async fn coarse_kills_are_a_status_and_fine_ones_a_json_rpc_error() {
    let world = world(1).await;
    let operator = &world.gateway.operator;
    let (caller, tool) = &world.callers["a echo"];
    for (level, status) in [("endpoint", 503), ("upstream", 200)] {
        let target = if level == "endpoint" { &world.endpoint.id } else { &world.endpoint.upstream };
        let order = world.order(level, &json!(target));
        let kill = operator.post("/v1/kills?wait=applied", order).await.unwrap();
        let answer = caller.call(tool).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, "killed"));
        assert_eq!(answer.header("portcullis-refusal"), "killed");
        let lift = json!({"reason": "over", "epoch": kill["epoch"]});
        operator.post(&format!("/v1/kills/{}/lift?wait=applied", text(&kill, "id")), lift).await.unwrap();
    }
}

/// M1, R62: the tenant's own switch, and what its reason is good for.
#[tokio::test]
async fn a_tenant_kills_and_lifts_what_is_its_own_and_both_are_audited() {
    let world = world(1).await;
    let (acme, operator) = (&world.acme, &world.gateway.operator);
    let order = json!({"level": "endpoint", "target": world.endpoint.id, "reason": "odd calls at night"});
    let kill = acme.post("/kills?wait=applied", order).await;
    assert_eq!(kill["acknowledgement"]["acknowledged"], 1, "{kill}");
    assert!(kill["acknowledgement"].get("proxies").is_none(), "tenants see counts: {kill}");
    assert_eq!(world.stopped(0).await, ["a add", "a echo", "a machine", "a second key"]);

    let path = format!("{}/kills/{}/lift?wait=applied", acme.base, text(&kill, "id"));
    let epoch = kill["epoch"].as_u64().unwrap();
    let unseen = acme.admin.post(&path, json!({"reason": "over", "epoch": epoch + 1})).await.unwrap_err();
    assert!(unseen.to_string().contains("412"), "{unseen}");
    assert!(acme.admin.post(&path, json!({"epoch": epoch})).await.is_err(), "a reason is needed");
    acme.admin.post(&path, json!({"reason": "was a test of ours", "epoch": epoch})).await.unwrap();
    assert_eq!(world.stopped(0).await, Vec::<&str>::new());

    for (operation, reason) in [("create_kill", "odd calls at night"), ("lift_kill", "was a test of ours")] {
        let acts = acme.audit("phase=act").await;
        let act = acts
            .iter()
            .find(|act| act["method"] == operation)
            .unwrap_or_else(|| panic!("{operation}: {acts:?}"));
        assert!(text(act, "target").ends_with(reason), "{act}");
    }

    // What an operator stopped, an operator lifts.
    let kill = operator.post("/v1/kills?wait=applied", world.order("tenant", &json!(null))).await.unwrap();
    let path = format!("{}/kills/{}/lift", acme.base, text(&kill, "id"));
    let lift = json!({"reason": "we disagree", "epoch": kill["epoch"]});
    assert!(acme.admin.post(&path, lift).await.unwrap_err().to_string().contains("409"));
    assert!(world.stopped(0).await.contains(&"b"));
    let listed = acme.admin.get(&format!("{}/kills", acme.base)).await.unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
}

/// G2: exercised without stopping anybody.
#[tokio::test]
async fn a_drill_is_acknowledged_and_stops_nothing() {
    let world = world(1).await;
    let mut order = world.order("fleet", &json!(null));
    order["drill"] = json!(true);
    let kill = world.gateway.operator.post("/v1/kills?wait=applied", order).await.unwrap();
    assert_eq!((&kill["drill"], &kill["acknowledgement"]["acknowledged"]), (&json!(true), &json!(1)));
    assert!(kill["acknowledgement"]["proxies"][0]["seconds"].is_number(), "{kill}");
    assert_eq!(world.stopped(0).await, Vec::<&str>::new());
}

#[tokio::test]
async fn what_names_nothing_is_no_kill() {
    let world = world(1).await;
    let operator = &world.gateway.operator;
    let key = &world.endpoint.key_id;
    for order in [
        world.order("endpoint", &json!(key)),
        world.order("endpoint", &json!(null)),
        world.order("tenant", &json!(key)),
        world.order("client", &json!(key.replace("key_", "cl_"))),
        world.order("order", &json!(null)),
        json!({"level": "fleet", "tenant_id": world.acme.id, "reason": "r"}),
        json!({"level": "fleet", "reason": ""}),
        json!({"level": "tenant", "reason": "r"}),
    ] {
        let refused = operator.post("/v1/kills", order.clone()).await.unwrap_err();
        assert!(refused.to_string().contains("422"), "{order}: {refused}");
    }
    assert_eq!(operator.get("/v1/kills").await.unwrap()["items"], json!([]));
}
