use crate::tree;

const MOST_LINES: usize = 400;

#[test]
fn no_source_file_is_longer_than_400_lines() {
    let long: Vec<_> = tree::sources(
        &["shared", "control-plane", "data-plane", "cli", "tests", "migrations", "scripts"],
        &[".rs", ".proto", ".sql", ".sh", ".py", ".mjs", ".ts"],
    )
    .into_iter()
    .map(|source| (source.text.lines().count(), source.path))
    .filter(|(lines, _)| *lines > MOST_LINES)
    .collect();
    assert!(long.is_empty(), "a file that wants to grow is two things: {long:#?}");
}
