//! `kaji up`: a cluster on this machine.

use super::{Verb, log, runtime};
use crate::flags;
use clap::{Arg, ArgMatches, Command, value_parser};
use kaji_cluster::up::{Options, Part};
use std::net::IpAddr;
use std::path::PathBuf;

pub(crate) const VERB: Verb = Verb { name: "up", command, run };

fn command() -> Command {
    Command::new("up")
        .about("Start a one-node cluster on this machine")
        .long_about(
            "Start a one-node cluster on this machine: API server, store, controllers, scheduler, node agent,\n\
             service proxy and DNS in one process. Ctrl-C stops it; started again it has lost nothing.",
        )
        .arg(flags::data_dir())
        .arg(
            Arg::new("bind-address")
                .long("bind-address")
                .value_name("ADDRESS")
                .value_parser(value_parser!(IpAddr))
                .default_value("0.0.0.0")
                .help("where the API server listens"),
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .value_parser(value_parser!(u16))
                .default_value("6443")
                .help("the API server's port; 0 picks a free one"),
        )
        .arg(flags::file("write-kubeconfig", "also write the administrator's kubeconfig here"))
        .arg(flags::switch("control-plane-only", "no node on this machine"))
        .arg(
            Arg::new("simulated-nodes")
                .long("simulated-nodes")
                .value_name("COUNT")
                .value_parser(value_parser!(u16))
                .help("simulated nodes instead of a real one: needs neither root nor a container runtime"),
        )
        .arg(
            Arg::new("disable")
                .long("disable")
                .value_name("PARTS")
                .value_delimiter(',')
                .value_parser(["scheduler", "controller-manager", "dns", "proxy"])
                .help("leave parts out, to run them apart"),
        )
        .arg(
            Arg::new("container-runtime-endpoint").long("container-runtime-endpoint").value_name("ENDPOINT").help(
                "use a running CRI runtime (unix:///run/containerd/containerd.sock) instead of our own containerd",
            ),
        )
        .arg(
            Arg::new("pod-infra-container-image")
                .long("pod-infra-container-image")
                .value_name("IMAGE")
                .help("sandbox image [default: made from this binary]"),
        )
        .arg(flags::switch("detach", "run in the background; `kaji down` stops it"))
}

fn options(matches: &ArgMatches) -> Options {
    let disabled = matches.get_many::<String>("disable").into_iter().flatten();
    Options {
        data_dir: flags::data_dir_of(matches),
        bind_address: *matches.get_one("bind-address").expect("has a default"),
        port: *matches.get_one("port").expect("has a default"),
        write_kubeconfig: matches.get_one::<PathBuf>("write-kubeconfig").cloned(),
        control_plane_only: matches.get_flag("control-plane-only"),
        simulated_nodes: matches.get_one::<u16>("simulated-nodes").copied(),
        disabled: disabled.filter_map(|name| Part::named(name)).collect(),
        runtime_endpoint: matches.get_one::<String>("container-runtime-endpoint").cloned(),
        sandbox_image: matches.get_one::<String>("pod-infra-container-image").cloned(),
    }
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let options = options(matches);
    if matches.get_flag("detach") {
        return detach(&options);
    }
    log("warn,kaji=info,kube_runtime=error,kube_client=error");
    runtime()?.block_on(kaji_cluster::up::run(options))?;
    Ok(())
}

/// Starts this program again as a session of its own, and waits until its cluster is ready or it has failed.
fn detach(options: &Options) -> anyhow::Result<()> {
    let arguments = std::env::args_os().skip(1).filter(|a| a != "--detach");
    runtime()?.block_on(kaji_cluster::up::detach(options, arguments.collect()))?;
    Ok(())
}
