//! Room for deep recursion: expressions may nest further than the stack of an ordinary thread allows.

use std::thread;

/// Bytes of stack for what nests deeply. Only what is used is ever backed by memory.
const ROOM: usize = 128 << 20;

/// Runs something on a thread with plenty of stack, and waits for it.
pub(crate) fn with_room<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let spawned = thread::Builder::new().stack_size(ROOM).spawn_scoped(scope, run);
        match spawned.expect("threads can be started").join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
