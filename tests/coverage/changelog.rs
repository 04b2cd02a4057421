//! `openapi/CHANGELOG.md` says what changed in the API since it was last released, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{api, file};

/// An operation or schema, and what of it: a parameter, a status, a field, a value; `-` for itself.
type Fact = (String, String);

fn facts(api: &Value) -> BTreeSet<Fact> {
    let mut facts = BTreeSet::new();
    for operation in operations(api) {
        let name = operation["operationId"].as_str().unwrap();
        let mut add = |what: &str| facts.insert((name.to_owned(), what.to_owned()));
        add("-");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            add(parameter["name"].as_str().unwrap());
        }
        for status in operation["responses"].as_object().unwrap().keys() {
            add(status);
        }
    }
    for (name, schema) in api["components"]["schemas"].as_object().unwrap() {
        let mut add = |what: &str| facts.insert((name.clone(), what.to_owned()));
        add("-");
        for field in schema["properties"].as_object().into_iter().flatten() {
            add(field.0);
        }
        for value in schema["enum"].as_array().into_iter().flatten() {
            add(value.as_str().unwrap());
        }
    }
    facts
}

fn operations(api: &Value) -> impl Iterator<Item = &Value> {
    api["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
}

fn parse(released: &str) -> BTreeSet<Fact> {
    let fact = |line: &str| line.split_once(' ').map(|(of, what)| (of.to_owned(), what.to_owned())).unwrap();
    released.lines().map(fact).collect()
}

/// The bullets under "Unreleased", each with its heading, and its words in backquotes.
fn unreleased(changelog: &str) -> Vec<(String, String, BTreeSet<String>)> {
    let section = changelog.split("\n## ").find_map(|part| part.strip_prefix("Unreleased\n")).unwrap();
    let mut bullets = Vec::new();
    for part in section.split("\n### ").skip(1) {
        let (heading, rest) = part.split_once('\n').unwrap();
        for bullet in rest.split("\n- ").skip(1) {
            let words = bullet.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            bullets.push((heading.to_owned(), bullet.to_owned(), words));
        }
    }
    bullets
}

/// What the changelog lacks, and what it says for nothing.
fn faults(before: &BTreeSet<Fact>, now: &BTreeSet<Fact>, changelog: &str) -> Vec<String> {
    let bullets = unreleased(changelog);
    let named = |(of, what): &Fact, headings: &[&str]| {
        bullets
            .iter()
            .filter(|(heading, ..)| headings.contains(&heading.as_str()))
            .any(|(.., words)| words.contains(of) || words.contains(what))
    };
    let mut faults = Vec::new();
    for fact in now.difference(before).filter(|fact| !named(fact, &["Added", "Changed"])) {
        faults.push(format!("`{}` `{}` is new: say so under Added or Changed", fact.0, fact.1));
    }
    for fact in before.difference(now).filter(|fact| !named(fact, &["Removed"])) {
        faults.push(format!("`{}` `{}` is gone: say so under Removed", fact.0, fact.1));
    }
    let changed: BTreeSet<_> =
        before.symmetric_difference(now).flat_map(|(of, what)| [of.as_str(), what.as_str()]).collect();
    for (heading, bullet, words) in &bullets {
        // What changes a meaning alone leaves no trace in the description.
        let about_something =
            heading == "Changed" || words.iter().any(|word| changed.contains(word.as_str()));
        if !about_something {
            faults.push(format!("nothing in the API is as this says: {bullet}"));
        }
    }
    faults
}

#[test]
fn the_changelog_says_what_changed_since_the_release() {
    let faults = faults(&parse(&file("openapi/released.txt")), &facts(&api()), &file("openapi/CHANGELOG.md"));
    assert!(faults.is_empty(), "openapi/CHANGELOG.md:\n{}", faults.join("\n"));
}

#[test]
fn a_change_that_is_not_said_is_found() {
    let before = parse("create_a -\ncreate_a 201\nA name\nA old\n");
    let now = parse("create_a -\ncreate_a 201\ncreate_b -\nA name\nA colour\n");
    let log =
        |entries: &str| format!("# Log\n\n## Unreleased\n\n{entries}\n\n## 1.0\n\n### Added\n\n- `x`\n");
    let complete = "### Added\n\n- `create_b`\n- `A` has a `colour`.\n\n### Removed\n\n- `old` of `A`.\n";
    assert_eq!(faults(&before, &now, &log(complete)), Vec::<String>::new());
    assert_eq!(faults(&before, &now, &log("### Added\n\n- `create_b`\n")).len(), 2);
    let claimed = faults(&before, &before, &log("### Added\n\n- `create_b`\n"));
    assert_eq!(claimed.len(), 1, "{claimed:?}");
}

/// What is deprecated in the description has its entry.
#[test]
fn deprecations_are_in_the_changelog() {
    let (api, log) = (api(), file("openapi/CHANGELOG.md"));
    for operation in operations(&api).filter(|operation| operation["deprecated"] == true) {
        let name = operation["operationId"].as_str().unwrap();
        let said = log.lines().any(|line| line.contains(&format!("`{name}`")) && line.contains("eprecated"));
        assert!(said, "openapi/CHANGELOG.md does not say that `{name}` is deprecated");
    }
}
