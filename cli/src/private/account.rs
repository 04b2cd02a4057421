use std::{fs, os::unix::process::CommandExt as _, path::Path, process::Command};

use super::{PrivateError, io_error};

/// As whom a private server runs. Postgres refuses uid 0, and its uid must have a passwd entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    switch: Option<(u32, u32)>,
}

impl Account {
    /// The caller, or for root `postgres`, else `nobody`.
    pub fn choose() -> Result<Self, PrivateError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { switch: None });
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(io_error("read /etc/passwd"))?;
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| find(&passwd, name))
            .map(|ids| Self { switch: Some(ids) })
            .ok_or(PrivateError::NoAccount)
    }

    /// Whether servers run as somebody else than the caller.
    #[must_use]
    pub fn switches(self) -> bool {
        self.switch.is_some()
    }

    /// The user id that servers run under.
    #[must_use]
    pub fn uid(self) -> u32 {
        self.switch.map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid)
    }

    /// Makes `command` run as this account.
    pub fn apply(self, command: &mut Command) {
        if let Some((uid, gid)) = self.switch {
            // Setting the uid from root drops the supplementary groups too.
            command.uid(uid).gid(gid);
        }
    }

    /// Gives `path` to this account.
    pub fn own(self, path: &Path) -> Result<(), PrivateError> {
        let Some((uid, gid)) = self.switch else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(uid), Some(gid))
            .map_err(io_error(format!("give {} to uid {uid}", path.display())))
    }
}

fn find(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_by_exact_name() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:\npostgres:x:104:109:,,,:/var/lib:/bin/bash\n";
        assert_eq!(find(passwd, "postgres"), Some((104, 109)));
        assert_eq!(find(passwd, "nobody"), None);
    }
}
