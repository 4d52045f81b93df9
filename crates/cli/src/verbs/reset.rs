//! `kaji reset`: remove every trace.

use super::{Verb, runtime};
use crate::flags;
use clap::{ArgMatches, Command};
use kaji_cluster::{data_dir, instance::Instance, reset, stop};
use std::io::{BufRead, IsTerminal, Write};

pub(crate) const VERB: Verb = Verb {
    name: "reset",
    command: || {
        Command::new("reset")
            .about("Remove every trace of the cluster: containers, mounts, interfaces, rules, files")
            .arg(flags::data_dir())
            .arg(flags::switch("yes", "don't ask").short('y'))
    },
    run,
};

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let dir = flags::existing_data_dir(matches)?;
    if let Some(pid) = stop::running(&dir)? {
        anyhow::bail!(
            "the cluster in {} is running (process {pid}); stop it first: kaji down --data-dir {0}",
            dir.path().display()
        );
    }
    let instance: Option<Instance> =
        data_dir::read(&dir.instance_file())?.and_then(|text| serde_json::from_str(&text).ok());
    let traces = reset::traces(&dir, instance.as_ref());
    println!("This will remove, for good:");
    for trace in &traces {
        println!("  {trace}");
    }
    if !matches.get_flag("yes") && !agreed()? {
        anyhow::bail!("nothing was removed");
    }
    runtime()?.block_on(reset::remove(&dir, instance.as_ref()))?;
    println!("done");
    Ok(())
}

fn agreed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        anyhow::bail!("nobody there to ask; say --yes to go ahead");
    }
    print!("Go ahead? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
