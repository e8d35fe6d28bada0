//! What the command line teaches beside `--help`: completions for shells, and pages of the manual.

use super::args::Arguments;
use super::output::{self, Exit};
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;

/// Prints what `shell` completes commands by.
pub(super) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "zaikoban", &mut script);
    output::data(String::from_utf8_lossy(&script).trim_end());
    Exit::Done
}

/// Writes a page for each command into `folder`.
pub(super) fn pages(folder: &Path, as_json: bool) -> Exit {
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Arguments::command(), folder));
    if let Err(error) = written {
        let message = format!("cannot write the manual to `{}`: {error}", folder.display());
        output::fail("unwritable", &message, &[], None, as_json);
        return Exit::Failed;
    }
    output::talk(&format!("the manual is in `{}`", folder.display()));
    Exit::Done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(pages(folder.path(), false), Exit::Done);
        for page in [
            "zaikoban.1",
            "zaikoban-products-import.1",
            "zaikoban-holds-accept.1",
        ] {
            let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
            assert!(text.contains("Example"), "{page}: {text}");
        }
        let file = folder.path().join("zaikoban.1");
        assert_eq!(pages(&file, false), Exit::Failed, "a file is no folder");
    }
}
