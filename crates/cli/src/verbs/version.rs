//! `kaji version`.

use super::Verb;
use clap::Command;

/// Kaji's own version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) const VERB: Verb = Verb {
    name: "version",
    command: || Command::new("version").about("Print the versions of Kaji and of the API it serves"),
    run: |_| {
        println!("kaji {VERSION}\nKubernetes {}", kaji_apiserver::git_version());
        Ok(())
    },
};
