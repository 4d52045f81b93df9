//! One attempt of a probe: a command, an HTTP request, a TCP connection or a gRPC health check.

use super::{Outcome, http};
use crate::agent::Agent;
use crate::cri::health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use crate::pod::expand::expand;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::time::Duration;

/// Longer output of a command is cut.
const MAX_OUTPUT: usize = 10 << 10;

/// Runs the probe once.
pub(super) async fn run(
    agent: &Agent,
    pod: &Pod,
    container: &Container,
    probe: &Probe,
    id: &str,
    ips: &[String],
) -> Outcome {
    if agent.is_simulated() {
        return Outcome::Success;
    }
    let timeout = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1).max(1)).unwrap_or(1));
    let ip = ips.first().cloned().unwrap_or_default();
    if let Some(action) = &probe.exec {
        let literal =
            |name: &str| container.env.iter().flatten().find(|v| v.name == name).and_then(|v| v.value.as_deref());
        let command: Vec<String> = action.command.iter().flatten().map(|text| expand(text, literal)).collect();
        return exec(agent, id, &command, timeout).await;
    }
    if let Some(action) = &probe.http_get {
        let Some(port) = port(&action.port, container) else {
            return Outcome::Error(unknown_port(&action.port));
        };
        let ask = http::Ask::of(action, &ip, port, "kube-probe/1.36");
        return match http::get(&ask, timeout).await {
            Ok(answer) if (200..400).contains(&answer.status) => match answer.redirected_away {
                true => Outcome::Warning(format!("Probe terminated redirects, Response body: {}", answer.body)),
                false => Outcome::Success,
            },
            Ok(answer) => Outcome::Failure(format!("HTTP probe failed with statuscode: {}", answer.status)),
            Err(error) => Outcome::Failure(error),
        };
    }
    if let Some(action) = &probe.tcp_socket {
        let Some(port) = port(&action.port, container) else {
            return Outcome::Error(unknown_port(&action.port));
        };
        let host = action.host.clone().filter(|host| !host.is_empty()).unwrap_or(ip);
        return match http::connect(&host, port, timeout).await {
            Ok(_) => Outcome::Success,
            Err(error) => Outcome::Failure(error),
        };
    }
    if let Some(action) = &probe.grpc {
        let service = action.service.clone().unwrap_or_default();
        return grpc(&ip, action.port, service, timeout).await;
    }
    Outcome::Error(format!("missing probe handler for {}:{}", crate::pod::full_name(pod), container.name))
}

/// A port by number or by the name that the container gives it.
pub(crate) fn port(port: &IntOrString, container: &Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match name.parse() {
            Ok(number) => number,
            Err(_) => {
                let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
                named?.container_port
            }
        },
    };
    u16::try_from(number).ok().filter(|number| *number > 0)
}

fn unknown_port(port: &IntOrString) -> String {
    match port {
        IntOrString::Int(number) => format!("invalid port number: {number}"),
        IntOrString::String(name) => format!("couldn't find port: {name}"),
    }
}

async fn exec(agent: &Agent, id: &str, command: &[String], timeout: Duration) -> Outcome {
    match agent.runtime.exec(id, command, Some(timeout)).await {
        Ok(done) if done.exit_code == 0 => Outcome::Success,
        Ok(done) => {
            let output = &done.output[..done.output.len().min(MAX_OUTPUT)];
            Outcome::Failure(String::from_utf8_lossy(output).into_owned())
        }
        Err(error) if error.is_timeout() => Outcome::Failure(format!(
            "command timed out: {:?} timed out after {}",
            command.join(" "),
            crate::pod::backoff::go_duration(timeout)
        )),
        Err(error) => Outcome::Error(error.to_string()),
    }
}

async fn grpc(ip: &str, port: i32, service: String, timeout: Duration) -> Outcome {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let address = format!("{host}:{port}");
    let shown = crate::pod::backoff::go_duration(timeout);
    let Ok(endpoint) = tonic::transport::Endpoint::from_shared(format!("http://{address}")) else {
        return Outcome::Error(format!("invalid address {address}"));
    };
    let connected = tokio::time::timeout(
        timeout,
        endpoint
            .user_agent("kube-probe/1.36")
            .unwrap_or_else(|_| tonic::transport::Endpoint::from_static("http://127.0.0.1"))
            .connect(),
    )
    .await;
    let channel = match connected {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => {
            return Outcome::Failure(format!("error: failed to connect service {address:?}: {error}"));
        }
        Err(_) => {
            return Outcome::Failure(format!(
                "timeout: failed to connect service {address:?} within {shown}: context deadline exceeded"
            ));
        }
    };
    let check = HealthClient::new(channel);
    let mut check = check;
    match tokio::time::timeout(timeout, check.check(HealthCheckRequest { service })).await {
        Err(_) => Outcome::Failure(format!("timeout: health rpc did not complete within {shown}")),
        Ok(Err(status)) if status.code() == tonic::Code::Unimplemented => Outcome::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            status.message()
        )),
        Ok(Err(status)) => Outcome::Failure(format!("error: health rpc probe failed: {status}")),
        Ok(Ok(answer)) => match answer.into_inner().status() {
            ServingStatus::Serving => Outcome::Success,
            other => Outcome::Failure(format!("service unhealthy (responded with {:?})", other.as_str_name())),
        },
    }
}
