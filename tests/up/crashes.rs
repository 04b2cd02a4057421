//! What is killed takes the rest down in order, or is cleaned up by the next command.

use crate::run::{Place, eventually, signal};

#[tokio::test(flavor = "multi_thread")]
async fn the_next_up_stops_what_a_killed_one_left() {
    let place = Place::new();
    let running = place.start(&[]);
    let key = place.result().text("api_key");
    let orphans = place.processes();
    running.signal("KILL");
    running.ended();
    assert!(orphans.iter().all(|(_, process)| process.is_alive()), "they go on serving");
    assert_eq!(place.result().caller().call("echo").await.status, 200);
    let status = place.status();
    assert!(
        !status.success && status.text.contains("proxy-0") && status.text.contains("make down"),
        "{status:?}"
    );

    let again = place.start(&[]);
    assert!(
        again.said().contains("Stopping what an earlier run left: postgres, control, demo-server, proxy-0")
    );
    for (name, process) in &orphans {
        assert!(!process.is_alive(), "{name} was left running");
    }
    assert_eq!(place.result().text("api_key"), key);
    assert!(place.result().paste_curl().contains(r#""text":"5""#));
    assert!(again.stop().success);
}

#[test]
fn down_stops_what_a_killed_up_left() {
    let place = Place::new();
    let running = place.start(&["--no-demo"]);
    let orphans = place.processes();
    running.signal("KILL");
    running.ended();
    let down = place.down();
    assert!(down.success && down.text.ends_with("Stopped.\n"), "{down:?}");
    assert!(orphans.iter().all(|(_, process)| !process.is_alive()));
    assert!(!place.up_json().exists());
    assert_eq!(place.down().text, "Nothing was running.\n");
}

#[test]
fn a_killed_process_ends_the_run_and_its_log_is_named() {
    let place = Place::new();
    for name in ["control", "proxy-0", "demo-server", "postgres"] {
        let running = place.start(&[]);
        let processes = place.processes();
        signal(place.process(name).pid, "KILL");
        let ended = running.ended();
        assert!(!ended.success, "{name}: {}", ended.text);
        let last = ended.text.lines().last().unwrap();
        assert!(last.contains(&format!("{name} ended by itself")), "{name}: {last}");
        let log = last.split("its log is ").nth(1).unwrap_or_else(|| panic!("{name}: {last}"));
        assert!(std::path::Path::new(log).is_file(), "{name}: {last}");
        for (other, process) in processes {
            assert!(!process.is_alive(), "{other} still runs after {name} was killed");
        }
        assert!(!place.up_json().exists());
    }
}

#[test]
fn a_first_start_that_is_killed_is_taken_up_by_the_next() {
    // Wherever in its first start it is killed, the next one ends up whole.
    for moment in ["Making a private Postgres", "Starting the control plane", "Preparing the demo tenant"] {
        let place = Place::new();
        let log = place.dir.with_extension("output");
        let out = std::fs::File::create(&log).unwrap();
        let mut child = place.up(&[]).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        assert!(eventually(|| std::fs::read_to_string(&log).unwrap().contains(moment)), "{moment}");
        child.kill().unwrap();
        child.wait().unwrap();
        let running = place.start(&[]);
        assert!(place.result().paste_curl().contains(r#""text":"5""#), "{moment}");
        assert!(running.stop().success);
    }
}

#[test]
fn ctrl_c_during_the_start_leaves_nothing_running() {
    let place = Place::new();
    let log = place.dir.with_extension("output");
    let out = std::fs::File::create(&log).unwrap();
    let mut child = place.up(&[]).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
    assert!(eventually(|| std::fs::read_to_string(&log).unwrap().contains("Starting the control plane")));
    let processes = place.processes();
    signal(child.id(), "INT");
    assert!(child.wait().unwrap().success());
    assert!(!processes.is_empty() && processes.iter().all(|(_, process)| !process.is_alive()));
    assert!(std::fs::read_to_string(&log).unwrap().ends_with("Stopped.\n"));
}
