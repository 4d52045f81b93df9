//! The `kaji` binary: what was typed → what it means → run.

mod flags;
mod verbs;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    use_small_pages();
    open_as_many_files_as_allowed();
    let typed: Vec<std::ffi::OsString> = std::env::args_os().collect();
    match verbs::run(&typed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The kernel's huge pages double the memory of a small process: 2 MiB are taken where 4 KiB are used. Programs that are
/// started from here inherit this unless it is undone for them, as the container runtime's is.
fn use_small_pages() {
    // Not allowed: then it is larger.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// The usual limit of 1024 files is for programs that use `select`; every connection and watch of a server is one. Go's
/// runtime does the same.
fn open_as_many_files_as_allowed() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Not allowed: then there are fewer.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
