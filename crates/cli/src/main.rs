//! The `kaji` binary: what was typed → what it means → run.

mod flags;
mod verbs;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    open_as_many_files_as_allowed();
    let typed: Vec<std::ffi::OsString> = std::env::args_os().collect();
    match verbs::run(&typed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The usual limit of 1024 files is for programs that use `select`; every connection and watch of a server is one. Go's
/// runtime does the same.
fn open_as_many_files_as_allowed() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Not allowed: then there are fewer.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
