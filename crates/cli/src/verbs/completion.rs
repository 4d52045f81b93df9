//! `kaji completion SHELL`.

use super::Verb;
use clap::{Arg, Command, value_parser};
use clap_complete::Shell;

pub(crate) const VERB: Verb = Verb {
    name: "completion",
    command: || {
        Command::new("completion").about("Print a completion script for a shell").arg(
            Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell)).help("which shell"),
        )
    },
    run: |matches| {
        let shell = *matches.get_one::<Shell>("shell").expect("required");
        clap_complete::generate(shell, &mut super::command(), "kaji", &mut std::io::stdout());
        Ok(())
    },
};
