//! Finding PostgreSQL's programs.

use super::EmbeddedError;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian and Ubuntu keep them, one folder per major version, none of them on the PATH.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Older servers lack what the statements use.
const OLDEST: u32 = 14;

/// A folder with `initdb` and `postgres` of one major version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// All that are installed: the folder the operator names, else those on the PATH, then Debian's, newest first.
pub(super) fn installed(named: Option<&Path>, path: Option<&OsStr>) -> Vec<Binaries> {
    if let Some(folder) = named {
        return look_into(folder).into_iter().collect();
    }
    let on_path = path.map(std::env::split_paths).into_iter().flatten();
    let mut found: Vec<Binaries> = on_path.filter_map(|folder| look_into(&folder)).collect();
    let debian = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut theirs: Vec<Binaries> = debian
        .filter_map(|entry| look_into(&entry.path().join("bin")))
        .collect();
    theirs.sort_by_key(|b| std::cmp::Reverse(b.major));
    found.extend(theirs);
    found
}

/// Every folder in which the programs may be, in the order in which they are looked for.
pub(in crate::store) fn folders(named: Option<&Path>, path: Option<&OsStr>) -> Vec<PathBuf> {
    let on_path = path.map(std::env::split_paths).into_iter().flatten();
    let debian = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    named
        .map(Path::to_owned)
        .into_iter()
        .chain(on_path)
        .chain(debian.map(|entry| entry.path().join("bin")))
        .collect()
}

fn look_into(folder: &Path) -> Option<Binaries> {
    let postgres = folder.join("postgres");
    if !folder.join("initdb").is_file() || !postgres.is_file() {
        return None;
    }
    let said = Command::new(&postgres).arg("--version").output().ok()?;
    let major = major_of(&String::from_utf8_lossy(&said.stdout))?;
    Some(Binaries {
        folder: folder.to_owned(),
        major,
    })
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
pub(in crate::store) fn major_of(said: &str) -> Option<u32> {
    let version = said.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The programs for a cluster of major version `data`, or for a new one.
pub(super) fn choose(installed: Vec<Binaries>, data: Option<u32>) -> Result<Binaries, EmbeddedError> {
    let found: Vec<u32> = installed.iter().map(|b| b.major).collect();
    let fits = |b: &Binaries| data.map_or(b.major >= OLDEST, |major| b.major == major);
    if let Some(fitting) = installed.into_iter().find(fits) {
        return Ok(fitting);
    }
    match data {
        Some(made_by) => Err(EmbeddedError::OtherVersion { made_by, found }),
        None => Err(EmbeddedError::NotInstalled { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn have(major: u32) -> Binaries {
        Binaries {
            folder: PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")),
            major,
        }
    }

    #[test]
    fn the_version_is_read_from_what_the_server_says() {
        assert_eq!(
            major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("bash: postgres"), None);
    }

    #[test]
    fn a_cluster_keeps_the_version_that_made_it() {
        let both = || vec![have(17), have(15)];
        assert_eq!(choose(both(), Some(15)).unwrap(), have(15));
        assert_eq!(choose(both(), None).unwrap(), have(17));
    }

    #[test]
    fn a_missing_version_is_explained_with_the_command_that_installs_it() {
        let text = choose(vec![have(17)], Some(15)).unwrap_err().to_string();
        assert!(text.contains("PostgreSQL 15") && text.contains("17"), "{text}");
        assert!(text.contains("apt-get install postgresql-15"), "{text}");
        let text = choose(vec![], None).unwrap_err().to_string();
        assert!(text.contains("apt-get install postgresql"), "{text}");
        assert!(choose(vec![have(13)], None).is_err(), "too old");
    }
}
