//! Building blocks of the command line.

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use kaji_cluster::DataDir;
use std::path::{Path, PathBuf};

/// `--data-dir D`, on every verb that works on a cluster of this machine.
pub(crate) fn data_dir() -> Arg {
    Arg::new("data-dir")
        .long("data-dir")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .help("where the cluster keeps its things [default: /var/lib/kaji; without root ~/.local/share/kaji]")
}

/// The data directory that was typed, or the default one.
pub(crate) fn data_dir_of(matches: &ArgMatches) -> PathBuf {
    matches.get_one::<PathBuf>("data-dir").cloned().unwrap_or_else(DataDir::default_path)
}

/// The data directory, which must exist.
pub(crate) fn existing_data_dir(matches: &ArgMatches) -> anyhow::Result<DataDir> {
    let path = data_dir_of(matches);
    DataDir::existing(&path).ok_or_else(|| no_cluster(&path))
}

fn no_cluster(path: &Path) -> anyhow::Error {
    anyhow::anyhow!(
        "there is no cluster in {}; name its directory with --data-dir, or make one with `kaji up`",
        path.display()
    )
}

/// A flag without value.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// A flag with a file as its value.
pub(crate) fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
}
