//! Where a run keeps what. Secrets lie in `secrets` directories, the data they seal elsewhere.
//!
//! ```text
//! .portcullis/
//!   lock             held by the supervisor for as long as it runs
//!   processes.json   what runs; up.json: the result, while it runs
//!   logs/            one file a process, and the run's before it
//!   ca.pem tls.pem   with --tls
//!   secrets/ control/ proxy-0/ …   state on the private Postgres
//!   databases/<digest>/            the same, for each database given by --database-url
//!   redis/  data/    private servers; as root, `data` points to a directory in /var/lib that the postgres user can reach
//! ```

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use seams::{Entropy, SystemEntropy};
use url::Url;

use super::summary::say;
use crate::{files, private::Account};

const LOCK: &str = "lock";
const DATABASES: &str = "databases";
/// As root: data, each directory with the file that says whose it is.
const DATA_OF_ROOT: &str = "/var/lib/portcullis-up";
const BELONGS_TO: &str = "belongs-to";
/// Kept by `--fresh` for a database that is not deleted: without them nothing in it could be read any more.
const KEPT: [&str; 2] = [Places::MASTER_KEY, Places::OPERATOR_TOKEN];

/// The directories of a run.
#[derive(Debug, Clone)]
pub struct Places {
    /// `.portcullis`, absolute.
    pub root: PathBuf,
    /// Secrets and proxies' state that belong to the run's database.
    state: PathBuf,
}

/// Held by the one process that may start, stop or delete what is in the directory.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file gives the lock up")] fs::File);

impl Places {
    /// File of the key that wraps data keys.
    pub const MASTER_KEY: &str = "master.key";
    /// File of the operator token.
    pub const OPERATOR_TOKEN: &str = "operator.token";

    /// Creates the directory if it is missing.
    pub fn prepare(dir: &Path) -> io::Result<Self> {
        files::private_dir(dir)?;
        let root = fs::canonicalize(dir)?;
        files::private_dir(&root.join("logs"))?;
        Ok(Self { state: root.clone(), root })
    }

    /// The directory, if there is one.
    #[must_use]
    pub fn find(dir: &Path) -> Option<Self> {
        let root = fs::canonicalize(dir).ok().filter(|root| root.join("logs").is_dir())?;
        Some(Self { state: root.clone(), root })
    }

    /// The same directory with the state that belongs to `database`; `None`: the private one.
    pub fn of_database(mut self, database: Option<&str>) -> anyhow::Result<Self> {
        if let Some(url) = database {
            self.state = self.root.join(DATABASES).join(name_of(url)?);
        }
        files::private_dir(&self.state.join("secrets")).context("create the directory for secrets")?;
        Ok(self)
    }

    /// Takes the directory; `None` while another process has it.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.root.join(LOCK))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the state of earlier runs on this database. One that was given is not ours to delete: its master key and
    /// operator token stay.
    pub fn wipe(&self) -> io::Result<()> {
        let private = self.state == self.root;
        if private {
            let pointer = self.root.join("data");
            if let Ok(target) = fs::read_link(&pointer) {
                absent_is_fine(fs::remove_dir_all(target))?;
            }
        }
        let keep: &[&str] = if private { &[LOCK, DATABASES, "processes.json", "logs"] } else { &["secrets"] };
        clear(&self.state, keep)?;
        if private {
            clear(&self.root.join("logs"), &["up.log"])
        } else {
            clear(&self.state.join("secrets"), &KEPT)
        }
    }

    /// A secret's file.
    #[must_use]
    pub fn secret(&self, name: &str) -> PathBuf {
        self.state.join("secrets").join(name)
    }

    /// A process's log.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// State of the control plane: what it could not store yet.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.state.join("control")
    }

    /// State of proxy `index`: its identity and its spool.
    #[must_use]
    pub fn proxy(&self, index: u16) -> PathBuf {
        self.state.join(format!("proxy-{index}"))
    }

    /// The machine-readable result of `up`.
    #[must_use]
    pub fn up_json(&self) -> PathBuf {
        self.root.join("up.json")
    }

    /// Deletes the result: nothing runs, or not any more.
    pub fn forget_result(&self) -> io::Result<()> {
        files::remove(&self.up_json())
    }

    /// Processes of the running `up`, for stopping them after a crash.
    #[must_use]
    pub fn processes(&self) -> PathBuf {
        self.root.join("processes.json")
    }

    /// Data of the private Postgres. As root it runs as another account, which cannot enter a checkout below a 0700 home.
    pub fn data(&self) -> anyhow::Result<PathBuf> {
        let pointer = self.root.join("data");
        if !Account::choose().is_ok_and(Account::switches) {
            files::private_dir(&pointer).context("create the directory for data")?;
            return Ok(pointer);
        }
        let target = match fs::read_link(&pointer) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                name_orphans(Path::new(DATA_OF_ROOT));
                // A new name, never that of a checkout which was here before: its secrets are gone with it.
                let entropy: &dyn Entropy = &SystemEntropy;
                let target = Path::new(DATA_OF_ROOT).join(hex::encode(entropy.bytes::<8>()));
                enterable(&target).with_context(|| format!("create {}", target.display()))?;
                std::os::unix::fs::symlink(&target, &pointer).context("point to the data")?;
                target
            }
            Err(error) => {
                return Err(error).with_context(|| format!("read where {} points", pointer.display()));
            }
        };
        enterable(&target).with_context(|| format!("create {}", target.display()))?;
        self.own(&target)?;
        Ok(target)
    }

    /// Writes into `target` whose it is, and refuses it when a copied directory brought the pointer along: two runs would
    /// share one database.
    fn own(&self, target: &Path) -> anyhow::Result<()> {
        let file = target.join(BELONGS_TO);
        let root = self.root.as_os_str().as_encoded_bytes();
        if let Ok(owner) = fs::read(&file)
            && owner != root
        {
            let owner = PathBuf::from(String::from_utf8_lossy(&owner).as_ref());
            if fs::read_link(owner.join("data")).is_ok_and(|other| other == target) {
                bail!(
                    "{} is a copy: its database is in use by {}; delete the copy and start again",
                    self.root.display(),
                    owner.display()
                );
            }
        }
        files::write_private(&file, root).with_context(|| format!("write {}", file.display()))
    }
}

/// A name for a database that holds neither its login nor its password.
fn name_of(url: &str) -> anyhow::Result<String> {
    // The URL may hold a password, so no message shows it.
    let parsed =
        Url::parse(url).map_err(|error| anyhow::anyhow!("the database URL cannot be read: {error}"))?;
    if !["postgres", "postgresql"].contains(&parsed.scheme()) {
        bail!("the database URL must begin with postgres://");
    }
    let socket = parsed.query_pairs().find(|(name, _)| name == "host").map(|(_, value)| value.into_owned());
    let host = socket.or(parsed.host_str().map(str::to_owned)).unwrap_or_default();
    let place = format!("{host}\n{}\n{}", parsed.port().unwrap_or(5432), parsed.path());
    Ok(hex::encode(&crypto::digest::sha256(place.as_bytes())[..6]))
}

/// Says which data nobody points to any more, as after a checkout was deleted. It may also have been moved, so nothing is
/// deleted.
fn name_orphans(data: &Path) {
    for entry in fs::read_dir(data).into_iter().flatten().flatten() {
        let Ok(owner) = fs::read(entry.path().join(BELONGS_TO)) else { continue };
        let owner = String::from_utf8_lossy(&owner).into_owned();
        if !Path::new(&owner).exists() {
            say(&format!(
                "{} is left of {owner}, which is gone; delete it if that was not moved",
                entry.path().display()
            ));
        }
    }
}

/// Deletes what is in `dir`, except the entries named.
fn clear(dir: &Path, keep: &[&str]) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if keep.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let is_dir = entry.file_type()?.is_dir();
        absent_is_fine(if is_dir {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        })?;
    }
    Ok(())
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A directory whose contents the server's account can reach; what lies in it is private by itself.
fn enterable(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for part in dir.ancestors().take(2) {
        fs::set_permissions(part, fs::Permissions::from_mode(0o711))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::prepare(dir.path()).unwrap();
        let held = places.lock().unwrap().expect("nobody has it");
        assert!(places.lock().unwrap().is_none());
        drop(held);
        assert!(places.lock().unwrap().is_some());
    }

    #[test]
    fn a_database_is_known_by_where_it_is() {
        let name = |url| name_of(url).unwrap();
        assert_eq!(name("postgres://a:b@h/d"), name("postgresql://c@h:5432/d?sslmode=require"));
        assert_ne!(name("postgres://a@h/d"), name("postgres://a@h/e"));
        assert_ne!(name("postgres://a@localhost/d?host=/x"), name("postgres://a@localhost/d?host=/y"));
        assert!(name_of("mysql://h/d").is_err() && name_of("secret").is_err());
    }

    #[test]
    fn starting_afresh_keeps_what_a_given_database_is_sealed_with() {
        let dir = tempfile::tempdir().unwrap();
        let private = Places::prepare(dir.path()).unwrap().of_database(None).unwrap();
        let given = private.clone().of_database(Some("postgres://h/d")).unwrap();
        for places in [&private, &given] {
            for name in [Places::MASTER_KEY, "demo.json"] {
                fs::write(places.secret(name), name).unwrap();
            }
            fs::create_dir(places.proxy(0)).unwrap();
        }
        given.wipe().unwrap();
        assert!(given.secret(Places::MASTER_KEY).exists() && private.secret("demo.json").exists());
        assert!(!given.secret("demo.json").exists() && !given.proxy(0).exists());
        private.wipe().unwrap();
        assert!(given.secret(Places::MASTER_KEY).exists());
        assert!(!private.secret(Places::MASTER_KEY).exists() && !private.proxy(0).exists());
    }
}
