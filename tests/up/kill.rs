//! The kill switch from a terminal.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Output};

use harness::processes;
use seams::Timestamp;
use wire::kill::{ORDER_CONTEXT, Target, Unverified};

use crate::run::Place;

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_says_how_fast_every_proxy_was_and_lift_ends_it() {
    let place = Place::new();
    let _running = place.start(&["--proxies", "2"]);
    let result = place.result();
    let (caller, tenant) = (result.caller(), result.text("tenant"));
    let kill = |more: &[&str]| {
        let mut line = place.command("kill");
        said(
            &line.args(["tenant", &tenant, "--reason", "an exercise", "--wait"]).args(more).output().unwrap(),
        )
    };
    let drill = kill(&["--drill"]);
    assert!(drill.contains("drill: acknowledged 2, unreachable 0"), "{drill}");
    assert_eq!(
        drill.lines().filter(|line| line.contains("acknowledged 0.") && line.ends_with(" s")).count(),
        2
    );
    assert!(caller.call("add").await.code().is_empty(), "a drill stops nobody");

    let killed = kill(&[]);
    assert!(killed.contains("killed: acknowledged 2"), "{killed}");
    assert_eq!(caller.call("add").await.code(), "killed");
    let id = killed.split_whitespace().next().unwrap();
    let lifted = place.command("lift").args([id, "--reason", "it is over", "--wait"]).output().unwrap();
    assert!(said(&lifted).contains("lifted: acknowledged 2"), "{lifted:?}");
    assert!(caller.call("add").await.code().is_empty());

    let without = place.command("kill").args(["tenant", &tenant]).output().unwrap();
    assert!(!without.status.success(), "a reason is needed");
}

#[test]
fn an_offline_order_is_signed_by_the_key_that_keygen_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let run = |arguments: &[&str]| processes::command("kill").args(arguments).output().unwrap();
    said(&run(&["keygen", "--private", &path("private"), "--public", &path("public")]));
    assert_eq!(fs::metadata(path("private")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!run(&["keygen", "--private", &path("private"), "--public", &path("other")]).status.success());

    let tenant = ids::TenantId::from_parts(1, [1; 10]);
    let order =
        ["tenant", &tenant.to_string(), "--offline", "--key", &path("private"), "--out", &path("order")];
    let told = said(&run(&order));
    let order = Unverified::parse(&fs::read(path("order")).unwrap()).unwrap();
    let public = crypto::signature::public_from_file(&fs::read_to_string(path("public")).unwrap()).unwrap();
    assert!(crypto::signature::verify(&public, ORDER_CONTEXT, &order.body, &order.signature));
    let kill = order.read(Timestamp::from_secs(0)).unwrap().kill.unwrap();
    assert_eq!(kill.target, Target::Tenant(tenant));
    assert!(told.contains(&kill.id.to_string()), "{told}");
    let slug = run(&["tenant", "acme", "--offline", "--key", &path("private"), "--out", &path("order")]);
    assert!(!slug.status.success(), "without a control plane nobody knows a slug");
}
