//! Probes, lifecycle hooks, and the handlers they share.

use super::{At, forms, nonnegative, port};
use kaji_api::field::Errors;

type Check = fn(At<'_>, &mut Errors);

fn handlers(at: At<'_>, kinds: &[(&str, Check)], e: &mut Errors) {
    let mut found = false;
    for (name, check) in kinds {
        let handler = at.field(name);
        if !handler.is_set() {
            continue;
        }
        if found {
            handler.forbidden(e, "may not specify more than 1 handler type")
        } else {
            check(handler, e)
        }
        found = true;
    }
    if !found {
        at.required(e, "must specify a handler type");
    }
}

fn exec(at: At<'_>, e: &mut Errors) {
    at.field("command").need(e);
}

fn http_get(at: At<'_>, e: &mut Errors) {
    at.field("path").need(e);
    port(at.field("port"), e);
    if !["HTTP", "HTTPS"].contains(&at["scheme"].str()) {
        at.field("scheme").not_supported(e, &["HTTP", "HTTPS"]);
    }
    for header in at.v["httpHeaders"].items() {
        at.field("httpHeaders").with(&header["name"]).check(e, forms::http_header);
    }
}

fn socket(at: At<'_>, e: &mut Errors) {
    port(at.field("port"), e);
}

const PROBES: &[(&str, Check)] = &[("exec", exec), ("httpGet", http_get), ("tcpSocket", socket), ("grpc", socket)];

/// The three probes of a container.
pub(crate) fn probes(container: At<'_>, e: &mut Errors) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let at = container.field(name);
        if !at.is_set() {
            continue;
        }
        probe(at, e);
        let grace = at.field("terminationGracePeriodSeconds");
        if name == "readinessProbe" {
            if grace.is_set() {
                grace.invalid(e, "must not be set for readinessProbes");
            }
        } else if at.field("successThreshold").i64() != 1 {
            let at = at.field("successThreshold");
            at.invalid_as(e, at.i64(), "must be 1");
        }
    }
}

fn probe(at: At<'_>, e: &mut Errors) {
    handlers(at, PROBES, e);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        nonnegative(at.field(field), e);
    }
    let grace = at.field("terminationGracePeriodSeconds");
    if grace.is_set() && grace.i64() <= 0 {
        grace.invalid(e, "must be greater than 0");
    }
}

/// Hooks at start and stop. `grace` is the pod's, `os` its operating system where named.
pub(crate) fn lifecycle(at: At<'_>, grace: Option<i64>, os: Option<&str>, e: &mut Errors) {
    for name in ["postStart", "preStop"] {
        let hook = at.field(name);
        if !hook.is_set() {
            continue;
        }
        let sleep: Check = |_, _| {};
        handlers(hook, &[("exec", exec), ("httpGet", http_get), ("tcpSocket", socket), ("sleep", sleep)], e);
        let seconds = hook["sleep"]["seconds"].as_i64().unwrap_or_default();
        if let Some(grace) = grace
            && hook.field("sleep").is_set()
            && !(0..=grace).contains(&seconds)
        {
            let text = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
            hook.field("sleep").invalid_as(e, seconds, &text);
        }
    }
    stop_signal(at.field("stopSignal"), os, e);
}

fn stop_signal(at: At<'_>, os: Option<&str>, e: &mut Errors) {
    if !at.is_set() {
        return;
    }
    match os {
        None => at.forbidden(e, "may not be set for containers with empty `spec.os.name`"),
        Some("windows") if !["SIGKILL", "SIGTERM"].contains(&at.str()) => {
            at.not_supported(e, &["SIGKILL", "SIGTERM"]);
        }
        Some("linux") if !SIGNALS.contains(&at.str()) => at.not_supported(e, SIGNALS),
        Some(_) => {}
    }
}

/// Signals of Linux, sorted.
const SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];
