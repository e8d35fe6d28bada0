//! Where the private cluster lives, and as whom it runs.
//!
//! PostgreSQL refuses to run as root, so a root daemon runs it as an ordinary user, who must be able to reach the data
//! through every folder above it. Where one of them is closed to that user (`/root` is, a checkout often lies there), the
//! cluster is kept under `/var/lib` instead and a link in the state folder says where. That is settled once, when the
//! cluster is made: later the link is followed, or the cluster in the state folder is used, and a folder that was closed
//! meanwhile is told, never evaded with an empty cluster.

use super::{EmbeddedError, EmbeddedSettings};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Gid, Uid, User, chown};
use sha2::Digest as _;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A socket's whole path must fit `sockaddr_un` with its closing zero.
const SOCKET_PATH_BYTES: usize = 107;
/// What the server adds to the folder.
const SOCKET_NAME: &str = "/.s.PGSQL.5432";
/// Where short socket paths are made when the state folder's is too long.
const SHORT: [&str; 2] = ["/run", "/tmp"];
/// Where the cluster goes when the state folder is closed to its user.
const ELSEWHERE: &str = "/var/lib";
/// The link in the state folder that says where the cluster is, when that is elsewhere.
const LINK: &str = "kept-elsewhere";

/// Whom the server runs as, when that is not us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Servant {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The folders of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Holds everything; the daemon's.
    pub(super) root: PathBuf,
    /// The cluster itself; the server's.
    pub(super) data: PathBuf,
    /// A cluster that is being made.
    pub(super) making: PathBuf,
    /// The socket; the server's.
    pub(super) socket: PathBuf,
    /// What the server says.
    pub(super) log: PathBuf,
    /// `None` is the daemon's own user.
    pub(super) servant: Option<Servant>,
}

impl Place {
    /// Chooses and makes the folders, and takes the lock that keeps a second daemon out.
    pub(super) fn take(settings: &EmbeddedSettings) -> Result<(Self, Flock<File>), EmbeddedError> {
        let root_daemon = Uid::effective().is_root();
        let folder = &settings.folder;
        make_folder(folder, if root_daemon { 0o711 } else { 0o700 })?;
        let folder = folder.canonicalize().map_err(at(folder))?;
        let kept = kept_elsewhere(&folder)?;
        let root = kept.clone().unwrap_or_else(|| folder.clone());
        let servant = if root_daemon {
            Some(servant_of(&root.join("data"), &settings.run_as)?)
        } else {
            None
        };
        let wall = servant.as_ref().and_then(|s| Some((closed_to(&root, s)?, s)));
        let root = match wall {
            None => root,
            Some((wall, _)) if kept.is_none() && !has_cluster(&root) => elsewhere(&folder, &wall)?,
            Some((wall, servant)) => {
                let (data, user) = (root.join("data"), servant.name.clone());
                return Err(EmbeddedError::Walled { data, wall, user });
            }
        };
        let lock = lock(&root.join("lock"))?;
        let place = Self {
            data: root.join("data"),
            making: root.join("data.making"),
            socket: socket_folder(&root),
            log: root.join("server.log"),
            servant,
            root,
        };
        place.make_own(&place.socket)?;
        Ok((place, lock))
    }

    /// Takes away what stands outside of the root: the short folder of a socket that is gone.
    pub(super) fn leave(&self) {
        if !self.socket.starts_with(&self.root) {
            // one that is not empty is still used
            let _ = fs::remove_dir(&self.socket);
        }
    }

    /// Makes a folder that only the server's user may enter.
    pub(super) fn make_own(&self, folder: &Path) -> Result<(), EmbeddedError> {
        make_folder(folder, 0o700)?;
        let has = fs::symlink_metadata(folder).map_err(at(folder))?;
        // a stranger may have been there first, under /tmp
        let us = Uid::effective().as_raw();
        let theirs = self.servant.as_ref().map_or(us, |s| s.uid);
        if !has.is_dir() || (has.uid() != us && has.uid() != theirs) {
            let why = io::Error::other("it belongs to somebody else");
            return Err(at(folder)(why));
        }
        if let Some(servant) = &self.servant {
            let (uid, gid) = (Uid::from_raw(servant.uid), Gid::from_raw(servant.gid));
            chown(folder, Some(uid), Some(gid)).map_err(|e| at(folder)(e.into()))?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(at(folder))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::Folder { path, source }
}

fn make_folder(folder: &Path, mode: u32) -> Result<(), EmbeddedError> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(folder)
        .map_err(at(folder))
}

/// The user an existing cluster belongs to, else the first of `candidates` that exists and is not root.
fn servant_of(data: &Path, candidates: &[String]) -> Result<Servant, EmbeddedError> {
    let owner = fs::metadata(data).ok().map(|has| Uid::from_raw(has.uid()));
    let by_owner = owner.and_then(|uid| User::from_uid(uid).ok().flatten());
    let by_name = || {
        candidates
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
    };
    by_owner
        .filter(|user| !user.uid.is_root())
        .or_else(by_name)
        .filter(|user| !user.uid.is_root())
        .map(|user| Servant {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
        .ok_or_else(|| EmbeddedError::NoUser {
            tried: candidates.to_vec(),
        })
}

/// The first folder on the way that the server's user may not pass.
fn closed_to(folder: &Path, servant: &Servant) -> Option<PathBuf> {
    let mut way: Vec<&Path> = folder.ancestors().collect();
    way.reverse();
    way.into_iter()
        .find(|step| fs::metadata(step).is_ok_and(|has| !may_pass(has.mode(), has.uid(), has.gid(), servant)))
        .map(Path::to_owned)
}

fn may_pass(mode: u32, uid: u32, gid: u32, servant: &Servant) -> bool {
    let bit = if uid == servant.uid {
        0o100
    } else if gid == servant.gid {
        0o010
    } else {
        0o001
    };
    mode & bit != 0
}

/// Whether there is a cluster in `folder`, or where it is kept instead.
pub(super) fn exists(folder: &Path) -> Result<bool, EmbeddedError> {
    Ok(has_cluster(
        &kept_elsewhere(folder)?.unwrap_or_else(|| folder.to_owned()),
    ))
}

/// The cluster of `folder` and its socket, when there is one.
pub(super) fn found(folder: &Path) -> Result<Option<(PathBuf, PathBuf)>, EmbeddedError> {
    let root = kept_elsewhere(folder)?.unwrap_or_else(|| folder.to_owned());
    Ok(has_cluster(&root).then(|| (root.join("data"), socket_folder(&root))))
}

fn has_cluster(root: &Path) -> bool {
    root.join("data/PG_VERSION").is_file()
}

/// Where the link in the state folder leads, when there is one. It is followed whether or not the state folder is closed
/// today: what was put elsewhere once stays there, or a `chmod` would exchange the database for an empty one.
fn kept_elsewhere(folder: &Path) -> Result<Option<PathBuf>, EmbeddedError> {
    let link = folder.join(LINK);
    match fs::symlink_metadata(&link) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(at(&link))?,
    };
    let kept = link.canonicalize().map_err(|source| EmbeddedError::Astray {
        link: link.clone(),
        source,
    })?;
    if has_cluster(folder) && has_cluster(&kept) {
        tracing::warn!(
            "There are two databases: `{}` is used, because `{}` leads there; `{}` is not",
            kept.display(),
            link.display(),
            folder.join("data").display()
        );
    }
    Ok(Some(kept))
}

/// A folder under `/var/lib` that stands for `folder`, and a link to it.
fn elsewhere(folder: &Path, wall: &Path) -> Result<PathBuf, EmbeddedError> {
    let elsewhere = Path::new(ELSEWHERE).join(format!("zaikoban-{}", word_of(folder)));
    make_folder(&elsewhere, 0o711)?;
    let link = folder.join(LINK);
    tracing::warn!(
        "`{}` is closed to the user PostgreSQL runs as: the database is kept in `{}`",
        wall.display(),
        elsewhere.display()
    );
    std::os::unix::fs::symlink(&elsewhere, &link).map_err(at(&link))?;
    Ok(elsewhere)
}

/// Eight letters that stand for a path.
fn word_of(path: &Path) -> String {
    let hash = sha2::Sha256::digest(path.as_os_str().as_encoded_bytes());
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Beside the data where that is short enough for a socket, else a short place that stands for it.
fn socket_folder(root: &Path) -> PathBuf {
    let beside = root.join("run");
    if beside.as_os_str().len().saturating_add(SOCKET_NAME.len()) <= SOCKET_PATH_BYTES {
        return beside;
    }
    let name = format!("zaikoban-{}", word_of(root));
    let writable = |base: &str| nix::unistd::access(base, nix::unistd::AccessFlags::W_OK).is_ok();
    let base = SHORT.into_iter().find(|base| writable(base)).unwrap_or("/tmp");
    Path::new(base).join(name)
}

fn lock(path: &Path) -> Result<Flock<File>, EmbeddedError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(at(path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => EmbeddedError::InUse {
            path: path.to_owned(),
        },
        other => at(path)(other.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_gets_a_short_socket_that_always_fits() {
        let short = socket_folder(Path::new("/var/lib/zaikoban/postgres"));
        assert_eq!(short, Path::new("/var/lib/zaikoban/postgres/run"));
        for length in 60..200 {
            let root = Path::new("/").join("x".repeat(length));
            let path = format!("{}{SOCKET_NAME}", socket_folder(&root).display());
            assert!(path.len() <= SOCKET_PATH_BYTES, "{path}");
        }
        let long = |name: &str| socket_folder(&Path::new("/").join(name.repeat(100)));
        assert_ne!(long("ab"), long("ac"), "two clusters must not share a socket");
    }

    #[test]
    fn who_may_pass_a_folder_is_told_by_owner_then_group_then_others() {
        let servant = Servant {
            name: "postgres".into(),
            uid: 5,
            gid: 6,
        };
        assert!(may_pass(0o700, 5, 0, &servant));
        assert!(
            !may_pass(0o077, 5, 6, &servant),
            "the owner's bit counts, not the group's"
        );
        assert!(may_pass(0o710, 0, 6, &servant));
        assert!(!may_pass(0o701, 0, 6, &servant));
        assert!(may_pass(0o711, 0, 0, &servant));
        assert!(!may_pass(0o700, 0, 0, &servant), "/root");
    }
}
