//! Every check is timed where that is wanted, and each once.

use std::collections::BTreeMap;

use super::*;
use crate::timings::{Check, Timings};

/// How many observations each check has, by its name.
fn observed() -> BTreeMap<String, u64> {
    let text = telemetry::metrics_handle().render();
    let counts = text.lines().filter_map(|line| line.strip_prefix("portcullis_check_seconds_count{check=\""));
    let count = |line: &str| {
        let (check, count) = line.split_once("\"} ").unwrap();
        (check.to_owned(), count.parse().unwrap())
    };
    counts.map(count).collect()
}

#[tokio::test]
async fn a_permitted_call_is_timed_once_at_each_check_and_a_refused_one_up_to_its_refusal() {
    local(async {
        telemetry::metrics_handle();
        let mut rig = Rig::start(|_| {}).await;
        assert_eq!(rig.call(ADD).await.status, StatusCode::OK);
        assert!(observed().is_empty(), "off unless wanted");

        Rc::get_mut(&mut rig.worker).unwrap().timings = Some(Timings::new());
        assert_eq!(rig.call(ADD).await.status, StatusCode::OK);
        let once: BTreeMap<_, _> = Check::NAMES.iter().map(|name| ((*name).to_owned(), 1)).collect();
        assert_eq!(observed(), once);

        assert_eq!(rig.call(&ADD.replace("add", "sub")).await.refusal(), "tool_not_granted");
        let after = ["tool_pin", "guard", "intent", "all"];
        let twice =
            once.keys().map(|name| (name.clone(), if after.contains(&&**name) { 1 } else { 2 })).collect();
        assert_eq!(observed(), twice);
    })
    .await;
}
