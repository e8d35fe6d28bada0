//! Why there is no private server: what waiting cannot heal names the command that does.

use crate::store::StoreError;
use std::io;
use std::path::PathBuf;

/// Why there is no private server.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No fitting programs.
    #[error(
        "PostgreSQL 14 or newer is needed and was not found (found: {found:?}): install it with `apt-get install \
         postgresql`, name its folder in `database.binaries`, or name a server in `database.url`"
    )]
    NotInstalled {
        /// Major versions that were found.
        found: Vec<u32>,
    },
    /// The cluster was made by a version that is not installed.
    #[error(
        "the database was made by PostgreSQL {made_by}, found are {found:?}: `apt-get install postgresql-{made_by}`, or \
         move the data with a dump taken by that version"
    )]
    OtherVersion {
        /// The cluster's.
        made_by: u32,
        /// Major versions that were found.
        found: Vec<u32>,
    },
    /// The daemon is root and knows nobody to run the server as.
    #[error(
        "PostgreSQL does not run as root, and there is no user {}: `adduser --system --group {}`, or name another one in \
         `database.user`",
        tried.join(" nor "), tried.first().map_or("zaikoban", String::as_str)
    )]
    NoUser {
        /// The names that were looked for.
        tried: Vec<String>,
    },
    /// Another daemon uses this state folder.
    #[error("`{path}` is held by another zaikoban: stop it, or use another state folder")]
    InUse {
        /// The lock.
        path: PathBuf,
    },
    /// A server runs on our cluster, with another socket.
    #[error(
        "PostgreSQL process {pid} runs on the cluster with its socket in `{socket}`: stop it with `kill -INT {pid}`"
    )]
    Elsewhere {
        /// Its number.
        pid: i32,
        /// Its socket's folder.
        socket: PathBuf,
    },
    /// There is a cluster, and its user cannot reach it any more.
    #[error(
        "`{wall}` is closed to the user `{user}`, whom PostgreSQL runs as, and the database lies behind it in `{data}`: \
         `chmod o+x {wall}` lets others pass through it without listing it"
    )]
    Walled {
        /// The cluster.
        data: PathBuf,
        /// The folder above it that is closed.
        wall: PathBuf,
        /// Whom it is closed to.
        user: String,
    },
    /// The link to where the cluster is kept leads nowhere.
    #[error(
        "the database is kept where `{link}` leads, and nothing is there: bring that folder back, or remove the link to \
         begin with an empty database"
    )]
    Astray {
        /// The link.
        link: PathBuf,
        /// Why it cannot be followed.
        source: io::Error,
    },
    /// A file or folder cannot be used.
    #[error("cannot use `{path}`")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cluster could not be made.
    #[error("`initdb` failed: {said}")]
    InitDb {
        /// The end of what it said.
        said: String,
    },
    /// The server ended instead of starting.
    #[error("{how}, its log ends: {said}")]
    Ended {
        /// How it ended.
        how: String,
        /// The end of its log.
        said: String,
    },
    /// The server runs and takes no connections.
    #[error("the server takes no connections after {waited_s} s: {last}")]
    NotReady {
        /// How long it was waited for, in seconds.
        waited_s: u64,
        /// What happened last.
        last: String,
    },
    /// The server runs and the daemon's database could not be made.
    #[error("cannot make the database `zaikoban`")]
    Database(#[source] StoreError),
}
