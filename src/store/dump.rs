//! Saving the whole database with PostgreSQL's own programs.
//!
//! `pg_dump` reads one snapshot, so that what is saved is of one moment whatever goes on beside it. It must be of the
//! server's version or newer. The way in is handed over in the environment, which only this user can read, never on the
//! command line, which everybody can.

use super::embedded;
use super::{Db, PoolSettings, StoreError};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer};
use diesel_async::RunQueryDsl as _;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::process::Command;

/// Where the programs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    dump: PathBuf,
    restore: PathBuf,
    /// Their major version.
    pub major: u32,
}

/// Why nothing was saved.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// There is no program that can read this server.
    #[error(
        "no `pg_dump` of PostgreSQL {server} or newer was found ({found}): install it with \
         `apt-get install postgresql-client-{server}`, or name its folder in `database.binaries`"
    )]
    NoProgram {
        /// The server's major version.
        server: u32,
        /// What was found instead.
        found: String,
    },
    /// A program could not be run, or said no.
    #[error("`{program}` failed: {said}")]
    Failed {
        /// Which.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// What was written cannot be restored from.
    #[error("what `pg_dump` wrote is not a whole backup: {why}")]
    NotWhole {
        /// What is missing.
        why: String,
    },
    /// The database is away or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is to be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The server's major version.
    pub major: u32,
    /// What the database takes on the server's disk.
    pub bytes: u64,
}

/// How much there is to save, and by which version.
///
/// # Errors
/// When the database is away or refuses.
pub async fn size(db: &Db) -> Result<Size, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        version: i32,
        #[diesel(sql_type = BigInt)]
        bytes: i64,
    }
    let row: Row = diesel::sql_query(
        "SELECT current_setting('server_version_num')::int AS version, pg_database_size(current_database()) AS bytes",
    )
    .get_result(&mut *db.conn().await?)
    .await?;
    Ok(Size {
        major: row.version.unsigned_abs() / 10_000,
        bytes: row.bytes.unsigned_abs(),
    })
}

/// Finds the programs for a server of version `server`: of that version, else the oldest newer one. They are looked for
/// in the folder that the settings name, on the PATH and in Debian's folders. Blocks.
///
/// # Errors
/// [`DumpError::NoProgram`] with the command that installs them.
pub fn programs(named: Option<&Path>, path: Option<&OsStr>, server: u32) -> Result<Programs, DumpError> {
    let mut all: Vec<Programs> = embedded::folders(named, path)
        .into_iter()
        .filter_map(|folder| look_into(&folder))
        .collect();
    all.sort_by_key(|programs| programs.major);
    let found: Vec<String> = all.iter().map(|programs| programs.major.to_string()).collect();
    all.into_iter()
        .find(|programs| programs.major >= server)
        .ok_or_else(|| DumpError::NoProgram {
            server,
            found: if found.is_empty() {
                "there is none".to_owned()
            } else {
                format!("there is {}", found.join(", "))
            },
        })
}

fn look_into(folder: &Path) -> Option<Programs> {
    let (dump, restore) = (folder.join("pg_dump"), folder.join("pg_restore"));
    if !dump.is_file() || !restore.is_file() {
        return None;
    }
    let said = std::process::Command::new(&dump).arg("--version").output().ok()?;
    let major = embedded::major_of(&String::from_utf8_lossy(&said.stdout))?;
    Some(Programs { dump, restore, major })
}

/// Saves the database into `file`, which must be there and is overwritten: its owner and mode stay as they are.
///
/// # Errors
/// [`DumpError::Failed`] with what `pg_dump` said. A dropped future ends the program.
pub async fn dump(settings: &PoolSettings, programs: &Programs, file: &Path) -> Result<(), DumpError> {
    let mut command = command(&programs.dump);
    command
        .args([
            "--format=custom",
            "--no-password",
            "--lock-wait-timeout=60s",
            "--file",
        ])
        .arg(file)
        .envs(settings.client_environment());
    let said = output("pg_dump", &mut command).await?;
    if said.status.success() {
        Ok(())
    } else {
        Err(failed("pg_dump", &said))
    }
}

/// Reads a backup's table of contents, and whether the tables of `expected` are in it; how many entries it has.
///
/// # Errors
/// [`DumpError::Failed`], [`DumpError::NotWhole`].
pub async fn verify(programs: &Programs, file: &Path, expected: &[&str]) -> Result<usize, DumpError> {
    let said = output("pg_restore", command(&programs.restore).arg("--list").arg(file)).await?;
    if !said.status.success() {
        return Err(failed("pg_restore", &said));
    }
    // The list is at the file's head; reading it all to nowhere finds a file that was cut off, or bits that were not kept.
    let mut whole = command(&programs.restore);
    let read = output("pg_restore", whole.arg("--file=/dev/null").arg(file)).await?;
    if !read.status.success() {
        return Err(failed("pg_restore", &read));
    }
    let listed = String::from_utf8_lossy(&said.stdout);
    let entries: Vec<&str> = listed
        .lines()
        .filter(|line| !line.starts_with(';') && !line.trim().is_empty())
        .collect();
    for table in expected {
        // `3512; 0 16390 TABLE DATA public holds postgres`
        let has = |line: &&str| {
            let mut words = line.split_whitespace();
            line.contains(" TABLE DATA ") && words.any(|word| word == *table)
        };
        if !entries.iter().any(has) {
            let why = format!("the rows of `{table}` are not in it");
            return Err(DumpError::NotWhole { why });
        }
    }
    Ok(entries.len())
}

/// A program with an environment of its own, that ends with whoever waits for it.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn output(program: &'static str, command: &mut Command) -> Result<Output, DumpError> {
    command.output().await.map_err(|error| DumpError::Failed {
        program,
        said: error.to_string(),
    })
}

fn failed(program: &'static str, said: &Output) -> DumpError {
    let text = String::from_utf8_lossy(&said.stderr);
    let text: Vec<&str> = text.trim().lines().take(5).collect();
    DumpError::Failed {
        program,
        said: if text.is_empty() {
            said.status.to_string()
        } else {
            text.join("; ")
        },
    }
}
