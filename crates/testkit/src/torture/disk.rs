//! A small file system for a store, in a mount namespace of its own, that can be filled up.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Enough for the store of a round.
const SIZE: &str = "64m";

/// The file system; it goes when this is dropped.
pub(super) struct Disk {
    keeper: Child,
    dir: PathBuf,
}

impl Disk {
    /// Mounts it over a directory; none without the right to do so.
    pub(super) fn mount(dir: &Path) -> Option<Self> {
        let script =
            format!("mount -t tmpfs -o size={SIZE} tmpfs '{}' && echo ready && exec sleep 1000000", dir.display());
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let read = BufReader::new(keeper.stdout.take()?).read_line(&mut line);
        if read.is_err() || line.trim() != "ready" {
            eprintln!("no full disks in this run: a file system could not be mounted");
            let _ = keeper.wait();
            return None;
        }
        Some(Disk { keeper, dir: dir.to_owned() })
    }

    /// What a program must be run by to see it.
    pub(super) fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.keeper.id().to_string(), "--mount", "--"]);
        command
    }

    /// Takes all space.
    pub(super) fn fill(&self) {
        let Ok(mut file) = File::create(self.filler()) else { return };
        let block = vec![0u8; 64 << 10];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&block[..512]).is_ok() {}
    }

    /// Gives it back.
    pub(super) fn make_room(&self) {
        // Not there: it was not filled.
        let _ = std::fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.keeper.id());
        Path::new(&root).join(self.dir.strip_prefix("/").unwrap_or(&self.dir)).join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
