//! `--detach`, `status`, `down`, and one run in a directory.

use crate::run::{Place, shell};

#[test]
fn a_detached_run_stays_until_down() {
    let place = Place::new();
    assert!(!place.status().success);
    let up = place.finish(place.up(&["--detach"]));
    assert!(up.success, "{up:?}");
    for line in
        ["Making a private Postgres", "Starting the control plane", "portcullis down --dir", "curl -sS "]
    {
        assert!(up.text.contains(line), "{line}: {}", up.text);
    }
    let status = place.status();
    assert!(status.success, "{status:?}");
    for name in ["postgres", "control", "demo-server", "proxy-0", "ready"] {
        assert!(status.text.contains(name), "{name}: {}", status.text);
    }
    assert!(place.result().paste_curl().contains(r#""text":"5""#));

    for options in [&["--detach"][..], &[], &["--fresh"]] {
        let second = place.finish(place.up(options));
        assert!(!second.success && second.text.contains("already running"), "{options:?}: {second:?}");
    }
    assert!(place.status().success, "the first was not disturbed");

    let down = place.down();
    assert!(down.success && down.text == "Stopped.\n", "{down:?}");
    assert!(!place.up_json().exists() && !place.status().success);
}

#[test]
fn a_reader_that_goes_away_ends_no_detached_run() {
    let place = Place::new();
    let up = place.up(&["--detach"]);
    let line: Vec<_> =
        [up.get_program()].into_iter().chain(up.get_args()).map(|word| word.to_str().unwrap()).collect();
    let first = shell(&format!("{} | head -n 1", line.join(" ")));
    assert_eq!(first.lines().count(), 1, "{first}");
    assert!(place.status().success);
    // The same with nothing to write to at all.
    assert!(place.down().success);
    let closed = shell(&format!("{} >&- 2>&-; echo $?", line.join(" ")));
    assert_eq!(closed, "0\n");
    assert!(place.status().success);
}

#[test]
fn a_detached_run_that_cannot_start_says_why() {
    let place = Place::new();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", place.base + 4)).unwrap();
    let up = place.finish(place.up(&["--detach"]));
    assert!(!up.success);
    assert!(up.text.contains(&format!("port {} is taken", place.base + 4)), "{up:?}");
    assert!(up.text.contains("--port-base") && up.text.contains("up.log"), "{up:?}");
}
