//! Lifecycle hooks: commands, HTTP requests and pauses, after a start and before a stop.

use super::full_name;
use crate::agent::Agent;
use crate::probe::{check, http};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use std::time::Duration;

/// Runs a hook to its end; an error is upstream's message.
pub(crate) async fn run(
    agent: &Agent,
    pod: &Pod,
    container: &Container,
    id: &str,
    hook: &LifecycleHandler,
    ips: &[String],
) -> Result<(), String> {
    if agent.is_simulated() {
        return Ok(());
    }
    let place = format!("for Container {:?} in Pod {:?} failed - error:", container.name, full_name(pod));
    if let Some(action) = &hook.exec {
        let command = action.command.clone().unwrap_or_default();
        let done = agent.runtime.exec(id, &command, None).await;
        let (error, output) = match done {
            Ok(done) if done.exit_code == 0 => return Ok(()),
            Ok(done) => (
                format!(
                    "command '{}' exited with {}: {}",
                    command.join(" "),
                    done.exit_code,
                    String::from_utf8_lossy(&done.output)
                ),
                String::from_utf8_lossy(&done.output).into_owned(),
            ),
            Err(error) => (error.to_string(), String::new()),
        };
        return Err(format!("Exec lifecycle hook ([{}]) {place} {error}, message: {output:?}", command.join(" ")));
    }
    if let Some(action) = &hook.http_get {
        let ip = ips.first().cloned().unwrap_or_default();
        let path = action.path.clone().unwrap_or_default();
        let Some(port) = check::port(&action.port, container) else {
            return Err(format!("HTTP lifecycle hook ({path}) {place} invalid port"));
        };
        let ask = http::Ask::of(action, &ip, port, "kube-lifecycle/1.36");
        let patience = Duration::from_secs(60);
        let mut answer = http::get(&ask, patience).await;
        if ask.is_tls() && answer.as_ref().err().is_some_and(|error| error.contains("server gave HTTP response")) {
            answer = http::get(&ask.without_tls(), patience).await;
        }
        return answer.map(drop).map_err(|error| format!("HTTP lifecycle hook ({path}) {place} {error}"));
    }
    if let Some(action) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    Err("Cannot run handler: invalid handler".to_owned())
}
