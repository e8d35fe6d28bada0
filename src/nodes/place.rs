//! Where a process runs: what makes its number mean something.

use std::path::Path;

/// The machine's name; what a node is called unless its settings say otherwise.
#[must_use]
pub fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// This start of the machine, and the namespace that processes are numbered in: a container's are its own.
pub(super) fn place() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), namespace.display())
}

/// Whether a process that was seen at `theirs` has surely ended, seen from `ours`. Never a guess: another machine, or a
/// place that could not be read, says nothing. A process with our own number is our predecessor's only if that has ended.
pub(super) fn has_ended(ours: &str, theirs: &str, pid: i32, own_pid: i32) -> bool {
    let is_known = ours.len() > 30 && ours.contains("pid:");
    is_known && ours == theirs && (pid == own_pid || !Path::new(&format!("/proc/{pid}")).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_ended_when_its_place_is_ours_and_it_is_not_there() {
        let here = place();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!has_ended(&here, &here, 1, own), "the first process runs");
        assert!(has_ended(&here, &here, i32::MAX, own));
        assert!(
            has_ended(&here, &here, own, own),
            "our number was another's before us"
        );
        assert!(
            !has_ended(&here, "elsewhere", i32::MAX, own),
            "another machine's is not known"
        );
        assert!(
            !has_ended("", "", i32::MAX, own),
            "what could not be read says nothing"
        );
    }
}
