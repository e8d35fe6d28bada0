//! The machine.

use super::super::Check;
use super::{percent, size};
use crate::ops::process::{Memory, Process};
use std::path::Path;

/// A disk fuller than this should be looked at, …
const FULL_PERCENT: u64 = 85;
/// … and fuller than this PostgreSQL soon stops.
const TOO_FULL_PERCENT: u64 = 95;
/// Memory as full as this leaves no room for a burst, …
const MEMORY_PERCENT: u64 = 90;
/// … and as full as this the kernel soon ends a process.
const TOO_MUCH_MEMORY_PERCENT: u64 = 97;
/// Pool, door, pages under way and the private server's pipes, with room.
const FILES_WANTED: u64 = 1_024;
const FILES_NEEDED: u64 = 256;

/// A file system, as `statvfs` tells it.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops::doctor) struct Space {
    pub(in crate::ops::doctor) block_bytes: u64,
    pub(in crate::ops::doctor) blocks: u64,
    pub(in crate::ops::doctor) free: u64,
    /// To us, who are not root.
    pub(in crate::ops::doctor) available: u64,
    /// 0 where there is no limit.
    pub(in crate::ops::doctor) inodes: u64,
    pub(in crate::ops::doctor) inodes_available: u64,
}

/// How full the disk below `folder` is.
pub(in crate::ops::doctor) fn disk(what: &str, folder: &Path, seen: &Result<Space, String>) -> Check {
    let shown = folder.display();
    let space = match seen {
        Ok(space) => space,
        Err(error) => {
            return Check::failed(
                what,
                format!("`{shown}` cannot be looked at: {error}"),
                format!("see that it is mounted and can be entered: `df -h {shown}`"),
            );
        }
    };
    // As `df` counts: what root keeps for itself is neither used nor free.
    let used = space.blocks.saturating_sub(space.free);
    let used_percent = percent(used, used.saturating_add(space.available));
    let left = size(space.available.saturating_mul(space.block_bytes));
    let used_inodes = space.inodes.saturating_sub(space.inodes_available);
    let inodes_percent = percent(used_inodes, space.inodes);
    let said = format!("`{shown}` is {used_percent} % full, {left} left; {inodes_percent} % of its inodes");
    let to_do = format!(
        "make room or a larger disk: `du -xh {shown} | sort -h | tail` and `journalctl --vacuum-size=200M`; a full disk \
         stops the database"
    );
    match used_percent.max(inodes_percent) {
        worst if worst > TOO_FULL_PERCENT => Check::failed(what, said, to_do),
        worst if worst > FULL_PERCENT => Check::warning(what, said, to_do),
        _ => Check::ok(what, said),
    }
}

/// Whether there is room in memory.
pub(in crate::ops::doctor) fn memory(rss: Option<u64>, around: &Memory) -> Check {
    let name = "memory";
    let mut said = Vec::new();
    said.extend(rss.map(|rss| format!("the daemon holds {}", size(rss))));
    let mut worst = 0;
    if let (Some(limit), Some(used)) = (around.group_limit, around.group_used) {
        let share = percent(used, limit);
        worst = worst.max(share);
        said.push(format!(
            "its service {} of {} ({share} %)",
            size(used),
            size(limit)
        ));
    }
    if let (Some(total), Some(available)) = (around.total, around.available) {
        worst = worst.max(percent(total.saturating_sub(available), total));
        said.push(format!(
            "the machine has {} of {} left",
            size(available),
            size(total)
        ));
    }
    if said.is_empty() {
        return Check::skipped(name, "the kernel does not say");
    }
    let said = said.join(", ");
    let to_do = "see who takes it (`ps aux --sort -rss | head`); give the machine more, or raise `MemoryMax=` of the \
                 service (`systemctl edit zaikoban`)";
    match worst {
        worst if worst > TOO_MUCH_MEMORY_PERCENT => Check::failed(name, said, to_do),
        worst if worst > MEMORY_PERCENT => Check::warning(name, said, to_do),
        _ => Check::ok(name, said),
    }
}

/// Whether enough files may be open.
pub(in crate::ops::doctor) fn files(process: &Process) -> Check {
    let name = "open files";
    let (Some(open), Some(most)) = (process.open_files, process.most_files) else {
        return Check::skipped(name, "the kernel does not say");
    };
    let said = format!("{open} open, at most {most}");
    let to_do = "raise `LimitNOFILE=` of the service to 65536: `systemctl edit zaikoban`, then `systemctl restart zaikoban`";
    if most < FILES_NEEDED || percent(open, most) > TOO_FULL_PERCENT {
        Check::failed(name, said, to_do)
    } else if most < FILES_WANTED || percent(open, most) > FULL_PERCENT {
        Check::warning(name, said, to_do)
    } else {
        Check::ok(name, said)
    }
}

/// Whether 03:00 UTC is noon in Tokyo.
pub(in crate::ops::doctor) fn time_zone(shown: Option<&str>) -> Check {
    let name = "time zone";
    if shown == Some("12:00") {
        return Check::ok(name, "the program knows Asia/Tokyo");
    }
    let said = format!("03:00 UTC is shown as {} in Tokyo", shown.unwrap_or("nothing"));
    Check::failed(name, said, "this build is broken: install the program again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::CheckState::{Failed, Ok as Well, Skipped, Warning};

    #[test]
    fn a_disk_warns_above_85_and_fails_above_95_percent_of_blocks_or_inodes() {
        let table = [
            (850, 0, Well),
            (851, 0, Warning),
            (950, 0, Warning),
            (951, 0, Failed),
            (1_000, 0, Failed),
            (10, 86, Warning),
            (10, 96, Failed),
        ];
        for (used, used_inodes, state) in table {
            let space = Space {
                block_bytes: 4_096,
                blocks: 1_050,
                free: 1_050 - used,
                available: 1_000 - used,
                inodes: 100,
                inodes_available: 100 - used_inodes,
            };
            let told = disk("disk", Path::new("/var/lib/zaikoban"), &Ok(space));
            assert_eq!(told.state, state, "{told:?}");
            assert_eq!(told.to_do.is_some(), state != Well);
        }
        let endless = Space {
            block_bytes: 1,
            blocks: 10,
            free: 9,
            available: 9,
            inodes: 0,
            inodes_available: 0,
        };
        assert_eq!(
            disk("disk", Path::new("/"), &Ok(endless)).state,
            Well,
            "no limit of inodes"
        );
        assert_eq!(disk("disk", Path::new("/"), &Err("EIO".into())).state, Failed);
    }

    #[test]
    fn memory_is_judged_by_the_service_and_the_machine_whichever_is_fuller() {
        let around = |available, group_used| Memory {
            total: Some(1_000),
            available: Some(available),
            group_limit: Some(1_000),
            group_used: Some(group_used),
        };
        let state = |available, used| memory(Some(5), &around(available, used)).state;
        assert_eq!(
            [
                state(500, 500),
                state(99, 0),
                state(500, 901),
                state(29, 0),
                state(500, 971)
            ],
            [Well, Warning, Warning, Failed, Failed]
        );
        assert_eq!(memory(None, &Memory::default()).state, Skipped);
    }

    #[test]
    fn few_files_are_told_before_they_run_out() {
        let state = |open, most| {
            files(&Process {
                open_files: Some(open),
                most_files: Some(most),
                ..Process::default()
            })
            .state
        };
        assert_eq!(
            [
                state(60, 1_024),
                state(60, 1_000),
                state(900, 1_024),
                state(10, 255),
                state(1_000, 1_024)
            ],
            [Well, Warning, Warning, Failed, Failed]
        );
        assert_eq!(files(&Process::default()).state, Skipped);
    }

    #[test]
    fn noon_in_tokyo_is_three_in_the_morning() {
        assert_eq!(time_zone(Some("12:00")).state, Well);
        assert_eq!(time_zone(Some("03:00")).state, Failed);
        assert_eq!(time_zone(None).state, Failed);
    }
}
