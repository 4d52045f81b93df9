//! A clock of its own for a server, that can be moved: the machine's stays as it is. Debian's libfaketime does it, for
//! programs that are linked dynamically.

use super::random::Random;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many seconds clocks are wrong by. Further back, certificates would not be valid yet.
const OFF: [i64; 6] = [-240, -20, 20, 240, 3 * 3600, 30 * 86_400];

/// One server's clock.
pub(crate) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A clock that is right; none where the program cannot be told another time.
    pub(crate) fn of(program: &Path, file: PathBuf) -> Option<Self> {
        let library = library().filter(|_| is_dynamic(program))?;
        let clock = Clock { library, file };
        clock.set(0);
        Some(clock)
    }

    /// Makes a program go by it. Only the time of day moves: what measures time goes on as it did.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file).envs(
            ["FAKETIME_DONT_FAKE_MONOTONIC", "FAKETIME_NO_CACHE", "FAKETIME_DISABLE_SHM"].map(|name| (name, "1")),
        );
    }

    /// Sets it wrong by so many seconds.
    pub(crate) fn set(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).expect("the directory is ours");
        // At once: it is read all the time.
        std::fs::rename(&new, &self.file).expect("the directory is ours");
    }

    /// How wrong it shall be next.
    pub(super) fn choose(random: &mut Random) -> i64 {
        OFF[random.index(OFF.len())]
    }
}

fn library() -> Option<PathBuf> {
    let dirs = std::fs::read_dir("/usr/lib").ok()?.flatten();
    dirs.map(|dir| dir.path().join("faketime/libfaketime.so.1")).find(|path| path.exists())
}

/// Whether a loader is named at the beginning of the program.
fn is_dynamic(program: &Path) -> bool {
    use std::io::Read;
    let mut head = Vec::new();
    let read = std::fs::File::open(program).and_then(|file| file.take(8192).read_to_end(&mut head));
    read.is_ok() && head.windows(9).any(|part| part == b"/ld-linux")
}
