//! Each component alone, with upstream's flag names: a table of flags per component.

mod apiserver;
mod controller_manager;
mod dns;
mod kubelet;
mod proxy;
mod scheduler;

use clap::{Arg, ArgMatches, Command};
use kaji_api::feature::Gates;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `--flag`, `--flag=false`.
    Bool,
    /// One word.
    Text,
    /// Comma-separated words; may be given several times.
    List,
    /// One word, commas and all; may be given several times.
    Each,
    /// One of these words (none: any), and nothing comes of it: so it is anyway.
    Settled(&'static [&'static str]),
}

/// One flag, named as upstream names it.
pub(crate) struct Flag {
    /// Without the dashes.
    pub(crate) name: &'static str,
    /// What follows.
    pub(crate) kind: Kind,
    /// Empty: none.
    pub(crate) default: &'static str,
    /// For people.
    pub(crate) help: &'static str,
}

pub(crate) const fn text(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Text, default, help }
}

pub(crate) const fn list(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::List, default, help }
}

pub(crate) const fn each(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Each, default, help }
}

/// A flag of upstream's that may be given, but that changes nothing here; `only` says which values describe what is.
pub(crate) const fn settled(name: &'static str, only: &'static [&'static str], help: &'static str) -> Flag {
    Flag { name, kind: Kind::Settled(only), default: "", help }
}

pub(crate) const fn switch(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Bool, default, help }
}

/// The same for all.
pub(crate) const FEATURE_GATES: Flag = list(
    "feature-gates",
    "",
    "features by upstream's names, such as A=true,B=false; those not named are as by default",
);

/// One component.
pub(crate) struct Component {
    /// The verb.
    pub(crate) name: &'static str,
    about: &'static str,
    flags: &'static [Flag],
    /// Names of all of upstream's flags, a line each.
    upstream: &'static str,
    /// The feature gates that may be in another state than by default.
    gates: &'static [&'static str],
    run: fn(&Typed<'_>) -> anyhow::Result<()>,
}

pub(crate) const COMPONENTS: &[Component] = &[
    apiserver::COMPONENT,
    controller_manager::COMPONENT,
    scheduler::COMPONENT,
    kubelet::COMPONENT,
    proxy::COMPONENT,
    dns::COMPONENT,
];

impl Component {
    /// Its command line.
    pub(crate) fn command(&self) -> Command {
        Command::new(self.name).about(self.about).args(self.flags.iter().map(Flag::arg))
    }

    /// Runs it until a signal.
    pub(crate) fn start(&self, matches: &ArgMatches) -> anyhow::Result<()> {
        super::log("warn,kaji=info,kube_runtime=error,kube_client=error");
        let typed = Typed(matches);
        if self.flags.iter().any(|flag| flag.name == FEATURE_GATES.name) {
            typed.gates(self.gates)?;
        }
        (self.run)(&typed)
    }
}

impl Flag {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.name).help(self.help);
        let arg = if self.default.is_empty() { arg } else { arg.default_value(self.default) };
        match self.kind {
            Kind::Bool => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(clap::builder::BoolishValueParser::new())
                .value_name("BOOL"),
            Kind::Text => arg.value_name("VALUE"),
            // As Go's switches: `--flag` alone is true.
            Kind::Settled(only) if only.iter().all(|word| matches!(*word, "true" | "false")) && !only.is_empty() => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(clap::builder::PossibleValuesParser::new(only)),
            Kind::Settled([]) => arg.value_name("VALUE").action(clap::ArgAction::Append),
            Kind::Settled(only) => arg.value_parser(clap::builder::PossibleValuesParser::new(only)),
            Kind::Each => arg.value_name("VALUE").action(clap::ArgAction::Append),
            Kind::List => arg.value_name("VALUES").value_delimiter(',').action(clap::ArgAction::Append),
        }
    }
}

/// What was typed, read by flag name.
pub(crate) struct Typed<'a>(pub(crate) &'a ArgMatches);

impl Typed<'_> {
    /// The word behind a flag.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get_one::<String>(name).map(String::as_str).filter(|s| !s.is_empty())
    }

    /// The word behind a flag that must be there.
    pub(crate) fn required(&self, name: &str) -> anyhow::Result<&str> {
        self.text(name).ok_or_else(|| anyhow::anyhow!("--{name} is required"))
    }

    /// The file behind a flag.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// The value behind a flag, parsed.
    pub(crate) fn parsed<T>(&self, name: &str) -> anyhow::Result<Option<T>>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let parse = |text: &str| text.parse::<T>().map_err(|e| anyhow::anyhow!("--{name}={text}: {e}"));
        self.text(name).map(parse).transpose()
    }

    /// The words behind a list flag.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.0.get_many::<String>(name).into_iter().flatten().cloned().collect()
    }

    /// The words behind a list flag that are not empty.
    pub(crate) fn words(&self, name: &str) -> Vec<String> {
        self.list(name).into_iter().filter(|word| !word.is_empty()).collect()
    }

    /// The words behind a list flag, parsed.
    pub(crate) fn parsed_list<T>(&self, name: &str) -> anyhow::Result<Vec<T>>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let parse = |text: String| text.parse::<T>().map_err(|e| anyhow::anyhow!("--{name}={text}: {e}"));
        self.words(name).into_iter().map(parse).collect()
    }

    /// What was said of feature gates.
    pub(crate) fn gates(&self, switchable: &[&str]) -> anyhow::Result<Gates> {
        let words = self.list(FEATURE_GATES.name);
        Gates::parse(words.iter().map(String::as_str), switchable)
            .map_err(|why| anyhow::anyhow!("--feature-gates: {why}"))
    }

    /// The time behind a flag, as Go writes it: `5m0s`, `0`.
    pub(crate) fn duration(&self, name: &str) -> anyhow::Result<Duration> {
        let text = self.required(name)?;
        let nanos = kaji_api::codec::parse_duration(text).map_err(|e| anyhow::anyhow!("--{name}={text}: {e}"))?;
        let nanos = u64::try_from(nanos).map_err(|_| anyhow::anyhow!("--{name}={text}: must not be negative"))?;
        Ok(Duration::from_nanos(nanos))
    }

    /// What was typed behind a switch; none: nothing.
    pub(crate) fn chosen(&self, name: &str) -> Option<bool> {
        self.0.get_one::<bool>(name).copied()
    }

    /// Whether a switch is on.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.0.get_one::<bool>(name).copied().unwrap_or_default()
    }
}

/// `kaji pause`: what the sandbox container of a pod runs.
pub(crate) fn pause() -> Command {
    Command::new("pause").about("Hold a pod's namespaces (run by the container runtime)").hide(true)
}

/// Go's flag parser takes underscores for dashes in the names of a component's flags; so do we.
pub(crate) fn with_go_flags(typed: &[OsString]) -> Vec<OsString> {
    let verb = typed.get(1).and_then(|v| v.to_str()).unwrap_or_default();
    if !COMPONENTS.iter().any(|c| c.name == verb) {
        return typed.to_vec();
    }
    typed.iter().map(dashed).collect()
}

fn dashed(word: &OsString) -> OsString {
    let Some(flag) = word.to_str().filter(|w| w.starts_with("--")) else { return word.clone() };
    let (name, value) = flag.split_at(flag.find('=').unwrap_or(flag.len()));
    format!("{}{value}", name.replace('_', "-")).into()
}

/// Whether upstream's component of that name has the flag (`--name` or `--name=value`).
pub(crate) fn is_upstream_flag(verb: &str, flag: &str) -> bool {
    let name = flag.trim_start_matches('-').split(['=', ' ']).next().unwrap_or_default();
    COMPONENTS.iter().find(|c| c.name == verb).is_some_and(|c| c.upstream.lines().any(|known| known == name))
}

/// Runs a component with a token that a signal cancels.
pub(crate) fn until_signal<F>(run: F) -> anyhow::Result<()>
where
    F: AsyncFnOnce(tokio_util::sync::CancellationToken) -> anyhow::Result<()>,
{
    use tokio::signal::unix::{SignalKind, signal};
    super::runtime()?.block_on(async {
        let token = tokio_util::sync::CancellationToken::new();
        let stop = token.clone();
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::spawn(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            stop.cancel();
        });
        run(token).await
    })
}

/// The client that `--kubeconfig` describes.
pub(crate) async fn client(typed: &Typed<'_>) -> anyhow::Result<kaji_client::Client> {
    let path = PathBuf::from(typed.required("kubeconfig")?);
    Ok(kaji_client::config::from_kubeconfig(&path).await?)
}

/// Runs `work` at once, or (`--leader-elect`) while holding the lease of that name.
pub(crate) async fn led<F, Fut>(
    typed: &Typed<'_>,
    client: kaji_client::Client,
    lease: &str,
    work: F,
) -> anyhow::Result<()>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    if !typed.on("leader-elect") {
        return work().await;
    }
    let identity = format!("{}_{}", kaji_cluster::up::host_name(), std::process::id());
    let mut outcome = Err(anyhow::anyhow!("lost the lease kube-system/{lease}; another instance leads"));
    let lead = || async { outcome = work().await };
    kaji_client::leader::elect(client, "kube-system", lease, &identity, lead).await;
    outcome
}

/// A file that a flag names, as text.
pub(crate) fn read(path: &std::path::Path) -> anyhow::Result<String> {
    use anyhow::Context;
    std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_flag_of_an_upstream_component_is_upstreams() {
        for component in COMPONENTS.iter().filter(|c| !c.upstream.is_empty()) {
            for flag in component.flags {
                // Ours alone: where the embedded store lies, the key for values at rest, and the sandbox image
                // (which upstream leaves to the runtime).
                let own = ["data-dir", "encryption-key-file", "pod-infra-container-image"].contains(&flag.name);
                assert!(own || is_upstream_flag(component.name, flag.name), "{} --{}", component.name, flag.name);
            }
        }
    }

    #[test]
    fn go_spellings_are_understood() {
        let typed: Vec<OsString> = ["kaji", "scheduler", "--leader_elect=false", "--x", "a_b"].map(Into::into).into();
        let words: Vec<OsString> = ["kaji", "scheduler", "--leader-elect=false", "--x", "a_b"].map(Into::into).into();
        assert_eq!(with_go_flags(&typed), words);
    }
}
