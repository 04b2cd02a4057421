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

/// A code that no test provokes is a promise nobody checked. Looked for: the slug in quotes, or the code's name.
#[test]
fn every_code_is_named_by_a_test() {
    let sources = tree::sources(&["tests", "shared", "control-plane/src", "data-plane/src"], &[".rs"]);
    let test_text: String = sources
        .iter()
        .filter(|source| !source.path.starts_with("shared/errors/"))
        .map(|source| match source.text.find("mod tests {") {
            _ if source.is_test() => source.text.as_str(),
            Some(start) => &source.text[start..],
            None => "",
        })
        .collect();
    let missing: Vec<_> = errors::CATALOGUE
        .iter()
        .filter(|entry| {
            let slug = format!("\"{}\"", entry.slug);
            let name = format!("::{:?}", entry.code);
            !test_text.contains(&slug) && !test_text.contains(&name)
        })
        .map(|entry| entry.slug)
        .collect();
    assert!(missing.is_empty(), "no test provokes {missing:?}");
}
