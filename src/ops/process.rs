//! What the kernel says of this process and its machine, read from `/proc` and the cgroup.
//!
//! Every number is optional: a container may hide any of them, and none is worth failing for.

use std::fs;
use std::path::Path;

/// Linux counts CPU time in hundredths of a second on every machine of today.
const TICKS_PER_S: f64 = 100.0;

/// This process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Resident memory.
    pub(super) rss_bytes: Option<u64>,
    /// User and system time.
    pub(super) cpu_s: Option<f64>,
    /// Open files.
    pub(super) open_files: Option<u64>,
    /// The most that may be open.
    pub(super) most_files: Option<u64>,
}

/// The memory around this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Of the machine.
    pub(super) total: Option<u64>,
    /// What could still be had.
    pub(super) available: Option<u64>,
    /// The cgroup's limit; `None` when there is none.
    pub(super) group_limit: Option<u64>,
    /// What the cgroup uses, what could be given back at once left out.
    pub(super) group_used: Option<u64>,
}

/// Reads this process's numbers.
pub(super) fn process() -> Process {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    Process {
        rss_bytes: kib(&text("/proc/self/status"), "VmRSS:"),
        cpu_s: cpu_s(&text("/proc/self/stat")),
        open_files: fs::read_dir("/proc/self/fd")
            .ok()
            .and_then(|all| u64::try_from(all.count()).ok()),
        most_files: most_files(&text("/proc/self/limits")),
    }
}

/// Reads the memory around it.
pub(super) fn memory() -> Memory {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // Version 2 has one line, `0::/path`.
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let (group_limit, group_used) = group.map_or((None, None), limit_of);
    Memory {
        total: kib(&info, "MemTotal:"),
        available: kib(&info, "MemAvailable:"),
        group_limit,
        group_used,
    }
}

/// The smallest limit on the way up, and what is used of it.
fn limit_of(group: &str) -> (Option<u64>, Option<u64>) {
    let root = Path::new("/sys/fs/cgroup");
    let limits = root.join(group);
    let limits = limits.ancestors().take_while(|folder| folder.starts_with(root));
    let found = limits.filter_map(|folder| {
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let limit: u64 = read("memory.max").trim().parse().ok()?;
        let used: u64 = read("memory.current").trim().parse().ok()?;
        let cached = number_after(&read("memory.stat"), "inactive_file").unwrap_or(0);
        Some((limit, used.saturating_sub(cached)))
    });
    found
        .min_by_key(|(limit, used)| limit.saturating_sub(*used))
        .map_or((None, None), |(limit, used)| (Some(limit), Some(used)))
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number.saturating_mul(1024))
}

/// The 14th and 15th field; the second may hold spaces and ends with the last bracket.
fn cpu_s(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: Option<Vec<f64>> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse().ok())
        .collect();
    let ticks = ticks.filter(|both| both.len() == 2)?;
    Some(ticks.iter().sum::<f64>() / TICKS_PER_S)
}

fn most_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(cpu_s(stat), Some(2.0));
        assert_eq!(cpu_s("7 (a"), None);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(most_files(limits), Some(1024));
        assert_eq!(kib("VmPeak: 9 kB\nVmRSS:\t  2048 kB\n", "VmRSS:"), Some(2 << 20));
        assert_eq!(
            number_after("anon 5\ninactive_file 4096\n", "inactive_file"),
            Some(4096)
        );
        assert_eq!(number_after("inactive_file_x 4096\n", "inactive_file"), None);
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let me = process();
        assert!(me.rss_bytes > Some(1 << 20) && me.open_files > Some(2), "{me:?}");
        assert!(me.most_files >= me.open_files && me.cpu_s.is_some(), "{me:?}");
        assert!(memory().available < memory().total, "{:?}", memory());
    }
}
