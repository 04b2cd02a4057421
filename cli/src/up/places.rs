//! Where a run keeps what. Secrets lie in `.portcullis/secrets`, the data they seal elsewhere.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{files, private::Account};

/// The directories of a run.
#[derive(Debug, Clone)]
pub struct Places {
    /// `.portcullis`, absolute.
    pub root: PathBuf,
    /// Data of the private servers: below the root, or, where another account must reach it, in /var/lib.
    pub data: PathBuf,
}

impl Places {
    /// Creates what is missing.
    pub fn prepare(dir: &Path) -> io::Result<Self> {
        files::private_dir(dir)?;
        let root = fs::canonicalize(dir)?;
        files::private_dir(&root.join("secrets"))?;
        files::private_dir(&root.join("logs"))?;
        let data = data_dir(&root)?;
        Ok(Self { root, data })
    }

    /// Deletes all state of earlier runs.
    pub fn wipe(&self) -> io::Result<()> {
        for path in [self.data.clone(), self.root.clone()] {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// A secret's file.
    #[must_use]
    pub fn secret(&self, name: &str) -> PathBuf {
        self.root.join("secrets").join(name)
    }

    /// A process's log.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// State of proxy `index`: its identity and its spool.
    #[must_use]
    pub fn proxy(&self, index: u16) -> PathBuf {
        self.root.join(format!("proxy-{index}"))
    }

    /// The machine-readable result of `up`.
    #[must_use]
    pub fn up_json(&self) -> PathBuf {
        self.root.join("up.json")
    }

    /// Processes of the running `up`, for adopting or stopping them after a crash.
    #[must_use]
    pub fn processes(&self) -> PathBuf {
        self.root.join("processes.json")
    }
}

/// As root the database runs as another account, which cannot enter a checkout below a 0700 home.
fn data_dir(root: &Path) -> io::Result<PathBuf> {
    let switches = Account::choose().is_ok_and(Account::switches);
    let pointer = root.join("data");
    if !switches {
        files::private_dir(&pointer)?;
        return Ok(pointer);
    }
    if let Ok(target) = fs::read_link(&pointer) {
        enterable(&target)?;
        return Ok(target);
    }
    let digest = crypto::digest::sha256(root.as_os_str().as_encoded_bytes());
    let target = PathBuf::from("/var/lib/portcullis-up").join(hex::encode(&digest[..8]));
    enterable(&target)?;
    std::os::unix::fs::symlink(&target, &pointer)?;
    Ok(target)
}

/// A directory whose contents the server's account can reach; what lies in it is private by itself.
fn enterable(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(dir)?;
    for part in dir.ancestors().take(2) {
        fs::set_permissions(part, fs::Permissions::from_mode(0o711))?;
    }
    Ok(())
}
