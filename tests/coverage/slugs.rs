//! No slug can be taken for a word of our own routes.

use std::collections::BTreeSet;

use ids::{Slug, SlugError};

use crate::{api, file};

/// What stands at the root of the API or of a listener, or beside what a caller names.
fn words() -> BTreeSet<String> {
    let api = api();
    let paths: Vec<Vec<&str>> =
        api["paths"].as_object().unwrap().keys().map(|path| path.split('/').skip(1).collect()).collect();
    let mut words = BTreeSet::new();
    for path in &paths {
        let roots = path.iter().take(if path[0] == "v1" { 2 } else { 1 });
        words.extend(roots.map(|word| (*word).to_owned()));
        for (place, word) in path.iter().enumerate().filter(|(_, word)| !word.starts_with('{')) {
            let beside = |other: &&Vec<&str>| {
                other.len() > place && other[..place] == path[..place] && other[place].starts_with('{')
            };
            words.extend(paths.iter().find(beside).map(|_| (*word).to_owned()));
        }
    }
    for routes in ["data-plane/src/admin.rs", "control-plane/src/http/admin.rs"] {
        let text = file(routes);
        let named = text.split("\"/").skip(1).filter_map(|rest| rest.split(['"', '/']).next());
        words.extend(named.map(str::to_owned));
        assert!(text.contains("\"/livez"), "{routes} has no routes");
    }
    words
}

#[test]
fn words_of_routes_are_no_slugs() {
    let words = words();
    for expected in ["kills", "tenants", "watch", "readyz", "errors", "kill-orders"] {
        assert!(words.contains(expected), "{expected} is not derived from the routes: {words:?}");
    }
    let free: Vec<_> = words
        .iter()
        .filter(|word| !matches!(word.parse::<Slug>(), Err(SlugError::Reserved | SlugError::Shape)))
        .collect();
    assert!(free.is_empty(), "add to the reserved words of `shared/ids/src/slug.rs`: {free:?}");
    assert_eq!("kills".parse::<Slug>(), Err(SlugError::Reserved));
}
