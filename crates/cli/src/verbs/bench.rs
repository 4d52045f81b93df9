//! `kaji bench`: how fast an API server answers, and what that costs it.
//!
//! Speaks plain HTTP/2 over TLS to whatever server a kubeconfig names, ours or upstream's, so that the
//! client costs little beside it. Everything happens in a namespace of its own, which is deleted in the end.

mod client;
mod histogram;
mod load;
mod process;
mod report;
mod scenario;
mod schedule;
mod watch;

use super::{Verb, runtime};
use anyhow::Context;
use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use client::Target;
use report::Line;
use scenario::{Bench, SCENARIOS, Scenario};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const VERB: Verb = Verb { name: "bench", command, run };

/// How many requests at once share a connection at most; servers allow a hundred and more.
const SHARED_BY: usize = 50;
/// Few connections would make one thread of the server the limit.
const CONNECTIONS: usize = 4;

/// What was asked for.
pub(crate) struct Options {
    kubeconfig: PathBuf,
    scenarios: Vec<&'static Scenario>,
    clients: usize,
    duration: Duration,
    objects: usize,
    watchers: usize,
    nodes: usize,
    events: usize,
    /// Events a second; none: one after the other.
    rate: Option<u32>,
    /// The server's processes, where they were named.
    server: Vec<u32>,
    json: bool,
}

fn command() -> Command {
    Command::new("bench")
        .about("Measure an API server: throughput, latency, CPU and memory")
        .long_about(
            "Load the API server that a kubeconfig names, ours or any other, and say how fast it answers and,\n\
             where it runs on this machine, what that costs it. Works in a namespace of its own, deleted afterwards.",
        )
        .arg(value("kubeconfig", "FILE", "the server and who to be [default: $KUBECONFIG]", value_parser!(PathBuf)))
        .arg(value("scenario", "NAMES", "what to measure, in this order [default: all]", names()).value_delimiter(','))
        .arg(value("clients", "COUNT", "requests at once", value_parser!(u16).range(1..)).default_value("64"))
        .arg(value("duration", "TIME", "how long each scenario lasts: 500ms, 5s, 1m", duration).default_value("5s"))
        .arg(value("objects", "COUNT", "pods to list, and to schedule", value_parser!(u32)).default_value("5000"))
        .arg(value("watchers", "COUNT", "watches at once", value_parser!(u16).range(1..)).default_value("100"))
        .arg(value("nodes", "COUNT", "nodes to schedule on", value_parser!(u16).range(1..)).default_value("1000"))
        .arg(value("events", "COUNT", "events each watch gets", value_parser!(u32).range(1..)).default_value("500"))
        .arg(value(
            "rate",
            "COUNT",
            "events a second, where watchers could not follow [default: as fast as writes go]",
            value_parser!(u32).range(1..),
        ))
        .arg(
            value(
                "server-pid",
                "PIDS",
                "the server's processes, counted together; name its etcd, too [default: who listens on its port]",
                value_parser!(u32),
            )
            .value_delimiter(','),
        )
        .arg(
            value("output", "FORMAT", "form of the answer", PossibleValuesParser::new(["table", "json"]))
                .default_value("table"),
        )
}

fn value(
    name: &'static str,
    shown: &'static str,
    help: &'static str,
    parser: impl Into<clap::builder::ValueParser>,
) -> Arg {
    Arg::new(name).long(name).value_name(shown).help(help).value_parser(parser.into())
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(SCENARIOS.iter().map(|s| clap::builder::PossibleValue::new(s.name).help(s.about)))
}

/// `500ms`, `5s`, `1m`.
fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..at].parse().map_err(|_| "starts with no number".to_owned())?;
    match &text[at..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err("ends with none of ms, s, m".to_owned()),
    }
}

fn options(matches: &ArgMatches) -> anyhow::Result<Options> {
    let typed = matches.get_one::<PathBuf>("kubeconfig").cloned();
    let kubeconfig = typed.or_else(|| std::env::var_os("KUBECONFIG").map(PathBuf::from));
    let wanted: Vec<&String> = matches.get_many("scenario").into_iter().flatten().collect();
    let find = |name: &String| SCENARIOS.iter().find(|s| s.name == name).expect("clap knows the names");
    let number = |name: &str| *matches.get_one::<u32>(name).expect("has a default") as usize;
    let short = |name: &str| usize::from(*matches.get_one::<u16>(name).expect("has a default"));
    Ok(Options {
        kubeconfig: kubeconfig.context("name the server: --kubeconfig FILE, or set KUBECONFIG")?,
        scenarios: match wanted.is_empty() {
            true => SCENARIOS.iter().filter(|s| !s.is_extra).collect(),
            false => wanted.into_iter().map(find).collect(),
        },
        clients: short("clients"),
        duration: *matches.get_one("duration").expect("has a default"),
        objects: number("objects"),
        watchers: short("watchers"),
        nodes: short("nodes"),
        events: number("events"),
        rate: matches.get_one("rate").copied(),
        server: matches.get_many("server-pid").into_iter().flatten().copied().collect(),
        json: matches.get_one::<String>("output").is_some_and(|o| o == "json"),
    })
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let options = options(matches)?;
    runtime()?.block_on(measure(options))
}

async fn measure(options: Options) -> anyhow::Result<()> {
    let connections = options.clients.max(options.watchers).div_ceil(SHARED_BY).max(CONNECTIONS);
    let target = Target::connect(&options.kubeconfig, connections).await?;
    let server = match options.server.is_empty() {
        true => process::listening_on(target.port).into_iter().collect(),
        false => options.server.clone(),
    };
    let bench = Arc::new(Bench::new(target, options));
    let lines = tokio::select! {
        lines = all(&bench, &server) => lines,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let cleaned = bench.leave().await;
    let lines = lines?;
    println!("{}", if bench.options.json { report::json(&lines) } else { report::table(&lines) });
    cleaned
}

async fn all(bench: &Arc<Bench>, server: &[u32]) -> anyhow::Result<Vec<Line>> {
    bench.enter().await?;
    let mut lines = Vec::new();
    for scenario in &bench.options.scenarios {
        eprintln!("{}: {} …", scenario.name, scenario.about);
        let prepared = (scenario.prepare)(bench.clone()).await?;
        let before = process::usage_of(server);
        let measured = (scenario.run)(bench.clone()).await?;
        let after = process::usage_of(server);
        if let Some(error) = &measured.first_error {
            eprintln!("{}: {} failed, the first with: {error}", scenario.name, measured.errors);
        }
        bench.delete(scenario, prepared, &measured).await?;
        lines.push(Line::new(scenario.name, &measured, before, after));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("5").is_err() && duration("s").is_err());
    }

    #[test]
    fn scenarios_run_in_the_order_typed() {
        let matches = command().get_matches_from(["bench", "--kubeconfig", "k", "--scenario", "list,get"]);
        let options = options(&matches).unwrap();
        assert_eq!(options.scenarios.iter().map(|s| s.name).collect::<Vec<_>>(), ["list", "get"]);
        assert_eq!((options.clients, options.objects), (64, 5000));
    }
}
