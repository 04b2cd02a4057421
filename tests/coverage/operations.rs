//! Every operation says what it refuses, every code of the API has a page and a test that meets it on the wire.

use std::collections::BTreeSet;

use errors::CATALOGUE;
use serde_json::Value;

use crate::{api, file};

struct Operation<'a> {
    id: &'a str,
    method: &'a str,
    path: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    fn has(&self, parameter: &str, place: &str) -> bool {
        let mut parameters = self.value["parameters"].as_array().into_iter().flatten();
        parameters.any(|one| one["name"] == parameter && one["in"] == place)
    }

    fn is_open(&self) -> bool {
        self.value.get("security").is_none()
    }

    /// The refusals that follow from what it takes.
    fn refusals(&self) -> BTreeSet<&'static str> {
        let mut refusals = BTreeSet::new();
        let mut when = |holds: bool, statuses: &[&'static str]| {
            if holds {
                refusals.extend(statuses);
            }
        };
        let writes = self.method != "get";
        when(!self.is_open(), &["401", "403", "429", "500", "503"]);
        when(self.path.contains('{'), &["404"]);
        when(writes, &["409", "422"]);
        when(self.value.get("requestBody").is_some(), &["400", "408", "413", "415", "422"]);
        when(self.has("If-Match", "header"), &["412"]);
        when(self.has("If-Match", "header") && ["patch", "put"].contains(&self.method), &["428"]);
        refusals
    }
}

/// Writes that need nobody to be known: whoever has found a credential may end it by showing it.
const OPEN_WRITES: &[&str] = &["report_leak"];

fn operations(api: &Value) -> Vec<Operation<'_>> {
    let mut all = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, value) in item.as_object().unwrap() {
            all.push(Operation { id: value["operationId"].as_str().unwrap(), method, path, value });
        }
    }
    all
}

#[test]
fn every_operation_documents_its_refusals_and_what_all_writes_have() {
    let api = api();
    let mut faults = Vec::new();
    for operation in operations(&api) {
        let id = operation.id;
        let documented = operation.value["responses"].as_object().unwrap();
        for status in operation.refusals() {
            if !documented.contains_key(status) {
                faults.push(format!("{id}: {status} is not documented"));
            }
        }
        if operation.method != "get" {
            let of_kills = ["kills", "leaks"].iter().any(|tag| operation.value["tags"][0] == *tag);
            if !operation.has("dry_run", "query") {
                faults.push(format!("{id}: no dry_run"));
            }
            if operation.has("Idempotency-Key", "header") == of_kills {
                faults.push(format!("{id}: Idempotency-Key"));
            }
        }
        if operation.method == "patch" && !operation.has("If-Match", "header") {
            faults.push(format!("{id}: a PATCH without If-Match"));
        }
        for name in operation.path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let name = name.trim_end_matches('}');
            if !operation.has(name, "path") {
                faults.push(format!("{id}: path parameter {name} is not documented"));
            }
        }
        let described = operation.value["summary"].is_string() || operation.value["description"].is_string();
        if !described || !operation.value["tags"].is_array() {
            faults.push(format!("{id}: no description or tag"));
        }
        if operation.is_open() && operation.method != "get" && !OPEN_WRITES.contains(&id) {
            faults.push(format!("{id}: a write that is open to anybody"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn operations_have_names_of_their_own() {
    let api = api();
    let all = operations(&api);
    let names: BTreeSet<_> = all.iter().map(|operation| operation.id).collect();
    assert_eq!(names.len(), all.len());
    for name in names {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
    }
}

/// Codes of the admin API that a test of the wire cannot bring about from outside, and where they are provoked instead.
const ELSEWHERE: &[(&str, &str)] = &[("store_unavailable", "guarantees"), ("counters_unavailable", "limits")];

/// The codes that `ApiError` has: read from the code, so that a new one cannot be forgotten here.
fn api_codes() -> BTreeSet<&'static str> {
    let source = file("control-plane/src/http/problem.rs") + &file("control-plane/src/db/error.rs");
    CATALOGUE
        .iter()
        .filter(|entry| {
            let name = format!("ErrorCode::{:?}", entry.code);
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
            source.match_indices(&name).any(|(at, _)| ends(&source[at + name.len()..]))
        })
        .map(|entry| entry.slug)
        .collect()
}

/// All tests of one folder.
fn tests_in(folder: &str) -> String {
    let files = std::fs::read_dir(format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    // A test's own folder is for what it is made of.
    let files = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_code_of_the_api_is_met_on_the_wire_by_a_test_of_the_api() {
    let codes = api_codes();
    assert!(codes.len() > 20, "only {codes:?}");
    let not_there = ["internal"];
    let missing: Vec<_> = codes
        .iter()
        .filter(|code| !not_there.contains(code))
        .filter(|code| {
            let place = ELSEWHERE.iter().find(|(other, _)| other == *code).map_or("api", |(_, place)| place);
            !tests_in(place).contains(&format!("\"{code}\""))
        })
        .collect();
    assert!(missing.is_empty(), "no test provokes {missing:?}");
}

/// What a test expects to be answered is a status that the catalogue has.
#[test]
fn statuses_of_codes_are_documented() {
    let api = api();
    let documented: BTreeSet<_> = operations(&api)
        .iter()
        .flat_map(|operation| operation.value["responses"].as_object().unwrap().keys())
        .map(|status| status.parse::<u16>().unwrap())
        .collect();
    for code in api_codes() {
        let entry = CATALOGUE.iter().find(|entry| entry.slug == code).unwrap();
        // What no operation can answer: there is none at that path and method.
        let of_no_operation = code == "method_not_allowed";
        assert!(of_no_operation || documented.contains(&entry.status), "{code}: {}", entry.status);
    }
}
