//! Packets that get lost: nobody is told, connections hang until somebody gives up. In a network namespace of the run's
//! own, so that no others are lost.

use std::process::Command;

/// Says that a run has a network namespace of its own.
pub(super) const INSIDE: &str = "KAJI_TORTURE_NAMESPACE";
const TABLE: &str = "kaji_torture";

/// What becomes of packets on the loopback interface.
pub(super) struct Packets;

impl Packets {
    /// All arrive; none where that cannot be changed.
    pub(super) fn new() -> Option<Self> {
        std::env::var_os(INSIDE)?;
        let chain = "{ type filter hook input priority 0; }";
        let made = nft(&format!("add table inet {TABLE}; add chain inet {TABLE} lost {chain}"));
        if !made {
            eprintln!("no lost packets in this run: nft does not work here");
        }
        made.then_some(Packets)
    }

    /// Loses those to and from ports.
    pub(super) fn lose(&self, ports: &[u16]) {
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let ports = ports.join(", ");
        let rule = |side: &str| format!("add rule inet {TABLE} lost tcp {side} {{ {ports} }} drop; ");
        assert!(nft(&(rule("dport") + &rule("sport"))), "rules that worked before");
    }

    /// All arrive again.
    pub(super) fn pass(&self) {
        assert!(nft(&format!("flush chain inet {TABLE} lost")), "rules that worked before");
    }
}

fn nft(rules: &str) -> bool {
    Command::new("nft").arg(rules).status().is_ok_and(|status| status.success())
}

/// Runs this test program once more, this test alone, in a network namespace of its own; none where that is not
/// possible, or has been done.
pub(super) fn rerun(test: &str) -> Option<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let possible = Command::new("unshare").args(["--net", "true"]).status().is_ok_and(|status| status.success());
    if !possible {
        eprintln!("no lost packets in this run: there is no right to make network namespaces");
        return None;
    }
    let program = std::env::current_exe().expect("this program is there");
    let status = Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .arg(program)
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status();
    Some(status.expect("it could be run a moment ago").success())
}
