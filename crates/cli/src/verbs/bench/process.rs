//! What a process of this machine has used (`/proc`).

use std::fs;

/// The kernel tells times in hundredths of a second, whatever it counts in itself.
const TICKS: f64 = 100.0;
/// State of a listening socket in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// Used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) memory: u64,
}

/// What a process has used; none when it is gone.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage { cpu_seconds: cpu_seconds(&stat)?, memory: memory(&status)? })
}

/// What several processes have used together; none where there is none, or one is gone.
pub(crate) fn usage_of(pids: &[u32]) -> Option<Usage> {
    let all: Option<Vec<Usage>> = pids.iter().copied().map(usage).collect();
    all?.into_iter().reduce(|a, b| Usage { cpu_seconds: a.cpu_seconds + b.cpu_seconds, memory: a.memory + b.memory })
}

/// User and system time: the 14th and 15th field, counted after the name, which may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS)
}

/// Resident memory in bytes.
fn memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Who listens on a port of this machine.
pub(crate) fn listening_on(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|t| fs::read_to_string(t).unwrap_or_default());
    let inode = tables.iter().find_map(|table| listener(table, port))?;
    let socket = format!("socket:[{inode}]");
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid| holds(*pid, &socket))
}

fn listener(table: &str, port: u16) -> Option<&str> {
    let ending = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1)?.ends_with(&ending) && *fields.get(3)? == LISTENS).then(|| fields.get(9).copied()).flatten()
    })
}

fn holds(pid: u32, socket: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.into_iter().any(|f| fs::read_link(f.path()).is_ok_and(|to| to.as_os_str() == socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(memory("Name:\tx\nVmRSS:\t   2048 kB\n"), Some(2 << 20));
    }

    #[test]
    fn we_are_found_by_our_port() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listening_on(socket.local_addr().unwrap().port()), Some(std::process::id()));
        let once = usage_of(&[std::process::id()]).unwrap();
        let twice = usage_of(&[std::process::id(); 2]).unwrap();
        assert!(once.memory > 0 && twice.memory > once.memory);
        assert_eq!((usage_of(&[]), usage_of(&[std::process::id(), u32::MAX])), (None, None));
    }
}
