//! `kaji down`: stop a cluster that runs in the background.

use super::{Verb, runtime};
use crate::flags;
use clap::Command;
use kaji_cluster::stop;
use std::time::Duration;

pub(crate) const VERB: Verb = Verb {
    name: "down",
    command: || {
        Command::new("down")
            .about("Stop the cluster that runs in the background")
            .long_about(
                "Stop the cluster that runs in the background. Containers go on; `kaji up` picks them up again.",
            )
            .arg(flags::data_dir())
    },
    run: |matches| {
        let dir = flags::existing_data_dir(matches)?;
        match runtime()?.block_on(stop::stop(&dir, Duration::from_secs(30)))? {
            Some(pid) => println!("stopped (process {pid})"),
            None => println!("no cluster runs in {}", dir.path().display()),
        }
        Ok(())
    },
};
