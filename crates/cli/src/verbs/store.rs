//! `kaji store`: look at the embedded store of a cluster that does not run.

use super::Verb;
use crate::flags;
use clap::{Arg, ArgMatches, Command};
use kaji_store::embedded;

pub(crate) const VERB: Verb = Verb { name: "store", command, run };

fn command() -> Command {
    Command::new("store")
        .about("Check, dump or compact the embedded store of a stopped cluster")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("check").about("Verify every checksum and index").arg(flags::data_dir()))
        .subcommand(
            Command::new("dump")
                .about("Print keys, revisions and values, a JSON line each")
                .arg(flags::data_dir())
                .arg(
                    Arg::new("prefix")
                        .long("prefix")
                        .value_name("PREFIX")
                        .default_value("")
                        .help("only keys with this prefix"),
                ),
        )
        .subcommand(Command::new("compact").about("Drop all history and give space back").arg(flags::data_dir()))
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (verb, matches) = matches.subcommand().expect("a subcommand is required");
    let store = flags::existing_data_dir(matches)?.store();
    match verb {
        "check" => check(&store)?,
        "dump" => {
            let prefix = matches.get_one::<String>("prefix").expect("has a default");
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            embedded::dump(&store, prefix, &mut out)?;
        }
        _ => {
            let (before, after) = embedded::compact(&store)?;
            println!("{} KiB before, {} KiB after", before / 1024, after / 1024);
        }
    }
    Ok(())
}

fn check(store: &std::path::Path) -> anyhow::Result<()> {
    let report = embedded::check(store)?;
    println!(
        "revision {} (history from {}), {} keys, {} versions, {} KiB of values in a file of {} KiB",
        report.revision,
        report.oldest,
        report.keys,
        report.versions,
        report.value_bytes / 1024,
        report.file_bytes / 1024
    );
    if report.problems.is_empty() {
        println!("no problems found");
        return Ok(());
    }
    anyhow::bail!("the store is damaged:\n  {}", report.problems.join("\n  "))
}
