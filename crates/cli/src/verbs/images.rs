//! `kaji images`: images into the node's runtime without a registry.

use super::{Verb, runtime};
use crate::flags;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use kaji_cluster::pack;
use std::path::PathBuf;

pub(crate) const VERB: Verb = Verb { name: "images", command, run };

fn command() -> Command {
    let list = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("WORD").action(ArgAction::Append).help(help)
    };
    Command::new("images")
        .about("Import, list and pack images")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("import")
                .about("Import archives as `docker save` or an OCI layout writes them")
                .arg(
                    Arg::new("file")
                        .value_name("FILE")
                        .required(true)
                        .num_args(1..)
                        .value_parser(value_parser!(PathBuf))
                        .help("the archives"),
                )
                .arg(flags::data_dir()),
        )
        .subcommand(Command::new("list").about("List the node's images").arg(flags::data_dir()))
        .subcommand(
            Command::new("pack")
                .about("Pack a directory as an image archive")
                .arg(
                    Arg::new("dir")
                        .value_name("DIR")
                        .required(true)
                        .value_parser(value_parser!(PathBuf))
                        .help("the image's root"),
                )
                .arg(list("name", "the image's name and tag; may be given several times").required(true))
                .arg(list("entrypoint", "a word of the entry point; may be given several times"))
                .arg(list("cmd", "a word of the default arguments; may be given several times"))
                .arg(list("env", "NAME=VALUE; may be given several times"))
                .arg(Arg::new("user").long("user").value_name("USER").default_value("").help("whom it runs as"))
                .arg(flags::file("output", "where to write the archive").short('o').required(true)),
        )
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand() {
        Some(("import", m)) => import(m),
        Some(("list", m)) => list(m),
        Some(("pack", m)) => pack_directory(m),
        _ => unreachable!("a subcommand is required"),
    }
}

fn import(matches: &ArgMatches) -> anyhow::Result<()> {
    let dir = flags::existing_data_dir(matches)?;
    let files = matches.get_many::<PathBuf>("file").into_iter().flatten();
    runtime()?.block_on(async {
        for file in files {
            for name in kaji_cluster::images::import(&dir, file).await? {
                println!("imported {name}");
            }
        }
        Ok(())
    })
}

fn list(matches: &ArgMatches) -> anyhow::Result<()> {
    let dir = flags::existing_data_dir(matches)?;
    for (name, bytes) in runtime()?.block_on(kaji_cluster::images::list(&dir))? {
        println!("{name:<60} {:>8} KiB", bytes / 1024);
    }
    Ok(())
}

fn words(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
}

fn pack_directory(matches: &ArgMatches) -> anyhow::Result<()> {
    let image = pack::Image {
        names: words(matches, "name"),
        entrypoint: words(matches, "entrypoint"),
        cmd: words(matches, "cmd"),
        env: words(matches, "env"),
        user: matches.get_one::<String>("user").cloned().unwrap_or_default(),
    };
    let root = matches.get_one::<PathBuf>("dir").expect("required");
    pack::directory(root, &image, matches.get_one::<PathBuf>("output").expect("required"))?;
    Ok(())
}
