use std::collections::BTreeSet;

use crate::tree;

/// Every code has a page and every page a code (a missing page would not compile; a stray one would mislead).
#[test]
fn codes_and_pages_agree() {
    let pages: BTreeSet<_> = std::fs::read_dir(tree::root().join("shared/errors/codes"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".md").to_owned())
        .collect();
    let codes: BTreeSet<_> = errors::CATALOGUE.iter().map(|entry| entry.slug.to_owned()).collect();
    assert_eq!(pages, codes);
}
