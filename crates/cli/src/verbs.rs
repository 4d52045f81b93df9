//! The verbs, one file each; [`VERBS`] is the one list, from which help and completions derive.

mod bench;
mod completion;
mod component;
mod down;
mod images;
mod reset;
mod store;
mod up;
mod version;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

/// One verb of the command line.
pub(crate) struct Verb {
    /// What is typed.
    pub(crate) name: &'static str,
    /// Its arguments and help.
    pub(crate) command: fn() -> Command,
    /// What it does.
    pub(crate) run: fn(&ArgMatches) -> anyhow::Result<()>,
}

const VERBS: &[Verb] =
    &[up::VERB, down::VERB, reset::VERB, images::VERB, store::VERB, bench::VERB, version::VERB, completion::VERB];

/// Why the program ends with a failure.
pub(crate) enum Failure {
    /// The command line was not understood (or help was asked for): clap has the words and the exit code.
    Usage(clap::Error),
    /// A known flag of upstream's that is not supported, and the like.
    Flag(String),
    /// The verb failed.
    Run(anyhow::Error),
}

impl Failure {
    /// Says why on standard error; usage errors exit with 2, others with 1.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Failure::Usage(error) => {
                // Printing may fail on a closed pipe; there is nobody left to tell.
                let _ = error.print();
                if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
            }
            Failure::Flag(text) => {
                eprintln!("kaji: {text}");
                ExitCode::from(2)
            }
            Failure::Run(error) => {
                eprintln!("kaji: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

/// The whole command line.
pub(crate) fn command() -> Command {
    let mut command = Command::new("kaji")
        .about("Kubernetes 1.36 in one binary")
        .long_about(
            "Kaji is a complete Kubernetes 1.36 in one binary.\n\n\
             `kaji up` starts a secure one-node cluster on this machine and says how to reach it;\n\
             every component also runs alone, with upstream's flag names.",
        )
        .version(version::VERSION)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(
            "Start here:\n  \
             kaji up                          a cluster on this machine (Ctrl-C stops it, nothing is lost)\n  \
             kaji up --simulated-nodes 3      the same without root and containers: three simulated nodes\n  \
             kaji up --detach; kaji down      in the background, and its end\n  \
             kaji images import web.tar       an image for the node, without a registry\n  \
             kaji reset                       remove every trace\n\n\
             Use kubectl as ever: export KUBECONFIG=/var/lib/kaji/kubeconfig/admin.conf",
        );
    for verb in VERBS {
        command = command.subcommand((verb.command)());
    }
    for component in component::COMPONENTS {
        command = command.subcommand(component.command());
    }
    command.subcommand(component::pause())
}

/// Parses and runs.
pub(crate) fn run(typed: &[OsString]) -> Result<(), Failure> {
    let typed = component::with_go_flags(typed);
    let matches = command().try_get_matches_from(&typed).map_err(|error| explain(error, &typed))?;
    let Some((name, arguments)) = matches.subcommand() else { return Ok(()) };
    if name == "pause" {
        std::process::exit(kaji_node::pause_main());
    }
    if let Some(verb) = VERBS.iter().find(|v| v.name == name) {
        return (verb.run)(arguments).map_err(Failure::Run);
    }
    let component = component::COMPONENTS.iter().find(|c| c.name == name).expect("every subcommand is in a table");
    component.start(arguments).map_err(Failure::Run)
}

/// An unknown flag that upstream has gets a better answer than "unknown".
fn explain(error: clap::Error, typed: &[OsString]) -> Failure {
    let unknown = (error.kind() == ErrorKind::UnknownArgument).then(|| error.get(clap::error::ContextKind::InvalidArg));
    let verb = typed.get(1).and_then(|v| v.to_str()).unwrap_or_default();
    match unknown.flatten() {
        Some(clap::error::ContextValue::String(flag)) if component::is_upstream_flag(verb, flag) => {
            Failure::Flag(format!(
                "{flag} is a flag of upstream's kube-{verb} that `kaji {verb}` does not support; leave it out (`kaji {verb} --help` lists what is supported)"
            ))
        }
        _ => Failure::Usage(error),
    }
}

/// What a worker thread has: room for objects as deep as decoders let them be, in unoptimized builds, too. Only what is
/// used is ever backed by memory.
const STACK: usize = 8 << 20;

/// A runtime for the verbs that wait for something.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK).enable_all().build()?)
}

/// Logs to standard error; `KAJI_LOG` filters (`info`, `kaji_node=debug`).
pub(crate) fn log(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("KAJI_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    // A second call (tests) changes nothing.
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    let _ = log.try_init();
}
