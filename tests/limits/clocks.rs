//! Clocks that step: those of proxies decide nothing, the store's costs what is stated in `limits::near`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use harness::{
    eventually,
    redis::{Redis, patient_link},
};
use limits::budget::{Budget, NearBudget, Now, Window};
use redis_link::counters::{Counter, CounterKey, Counters, End, Together, together::Wanted};
use smallvec::smallvec;

use crate::{
    counting::{Fleet, HOT, KEY, LARGE, PROXIES, SECOND, after},
    servers::Server,
};

/// Adds the seconds in a file to what a server takes for the time. Debian's libfaketime and the allocator of its Redis each
/// wait for the other to be there first.
const STEPS: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    long failed = syscall(SYS_gettimeofday, now, zone);
    char text[32] = {0};
    int file = open(getenv("STEP_FILE"), O_RDONLY);
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) > 0) now->tv_sec += atol(text);
        close(file);
    }
    return (int)failed;
}
"#;

/// Builds the library.
fn library(dir: &Path) -> PathBuf {
    let (source, library) = (dir.join("steps.c"), dir.join("steps.so"));
    std::fs::write(&source, STEPS).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(built.is_ok_and(|status| status.success()), "a C compiler is needed, as for the build itself");
    library
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_clock_steps_and_costs_a_burst_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let (file, next) = (dir.path().join("time"), dir.path().join("next"));
    let step = |seconds: i64| {
        std::fs::write(&next, seconds.to_string()).unwrap();
        std::fs::rename(&next, &file).unwrap();
    };
    step(0);
    let server = Server::with_environment(vec![
        ("LD_PRELOAD", library(dir.path()).display().to_string()),
        ("STEP_FILE", file.display().to_string()),
    ]);
    let time = || server.ask::<(u64, u64)>(&["TIME"]).map_or(0, |(seconds, _)| seconds);
    eventually("the server is there", async || time() > 0).await;
    let fleet = Fleet::start(&format!("redis://127.0.0.1:{}/", server.port), LARGE).await;
    let mut frozen = (0, 0);
    let happens = async {
        after(SECOND).await;
        let before = time();
        step(300);
        assert!((299..400).contains(&(time() - before)), "the clock did not step");
        after(SECOND).await;
        step(0);
        assert!(time() < before + 100, "the clock did not step back");
        // What was left, and leases, are used up soon.
        after(SECOND / 2).await;
        frozen.0 = crate::counting::since_began();
        after(SECOND).await;
        frozen.1 = crate::counting::since_began();
        step(301);
        after(2 * SECOND).await;
    };
    let log = fleet.under_load(HOT, 5 * SECOND, happens).await;
    fleet.keeps(&log, |_| f64::from(LARGE.burst));
    let during = log.iter().filter(|(before, after, _)| *before > frozen.0 && *after < frozen.1).count();
    assert!(during as u32 <= fleet.held_at_most(), "{during} passed while nothing could flow");
    let afterwards = log.iter().filter(|(before, ..)| *before > frozen.1 + 1_000_000_000).count();
    assert!(afterwards > 50, "{afterwards} passed once the clock had caught up");
    assert!(fleet.all_up());
}

/// A budget, and one proxy's end of it.
#[derive(Debug, Clone)]
struct OfDay {
    near: Arc<NearBudget>,
    units: u32,
}

impl Wanted for OfDay {
    fn key(&self) -> CounterKey {
        CounterKey { counter: Counter::Day, ..KEY }
    }
    fn end(&self) -> End<'_> {
        End::Budget(&self.near, Budget { window: Window::Day, units: self.units })
    }
    fn units(&self) -> u32 {
        1
    }
}

#[tokio::test]
async fn a_budget_is_of_the_stores_day_whatever_proxies_take_it_for() {
    const DAY: u64 = 86_400;
    let redis = Redis::start();
    let (link, keeper) = patient_link(&redis.url());
    tokio::spawn(keeper.run());
    eventually("the link is up", async || link.is_up()).await;
    let (seconds, _): (u64, u64) = link.call(&redis_link::redis::cmd("TIME")).await.unwrap();
    let mut passed = 0;
    let proxies: Vec<_> = (0..PROXIES)
        .map(|_| {
            let (together, later) = Together::new(Counters::new(link.clone()));
            together.set_proxies(PROXIES);
            (together, later, OfDay { near: Arc::default(), units: 60 })
        })
        .collect();
    for turn in 0..200u64 {
        for (number, (together, _, budget)) in proxies.iter().enumerate() {
            // One is right, the others are a day behind, a day ahead, or step from one to the other.
            let unix_seconds = match number {
                0 => seconds,
                1 => seconds - DAY,
                2 => seconds + DAY,
                _ => seconds + turn % 3 * DAY - DAY,
            };
            let now = Now { nanos: (turn + 1) * 10_000_000, unix_seconds };
            passed += u32::from(together.take(smallvec![budget.clone()], now).await.is_ok());
        }
    }
    // Around midnight a second day's may pass.
    let (after, _): (u64, u64) = link.call(&redis_link::redis::cmd("TIME")).await.unwrap();
    let days = 1 + (after / DAY - seconds / DAY) as u32;
    assert!((60..=60 * days).contains(&passed), "{passed} of 60");
}
