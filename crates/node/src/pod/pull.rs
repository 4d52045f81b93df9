//! Getting a container's image: policy, credentials, back-off, upstream's events and reasons.

use super::backoff::{Backoff, go_duration};
use super::{full_name, reference, uid};
use crate::agent::Agent;
use crate::cri::v1;
use base64::Engine;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use kaji_client::event::EventType;
use std::collections::{BTreeMap, HashMap};
use tokio::time::{Duration, Instant};

/// Why a container cannot start, in upstream's reason and message.
pub(crate) type Refusal = (String, String);

/// The pulls of one pod.
#[derive(Default)]
pub(crate) struct Pulls {
    pub(crate) backoff: Backoff,
    previous: HashMap<String, String>,
}

fn refuse<T>(reason: &str, message: String) -> Result<T, Refusal> {
    Err((reason.to_owned(), message))
}

/// The image, present; its status says who runs it.
pub(crate) async fn image(
    agent: &Agent,
    pod: &Pod,
    container: &Container,
    pulls: &mut Pulls,
    sandbox: &v1::PodSandboxConfig,
) -> Result<v1::Image, Refusal> {
    let asked = container.image.as_deref().unwrap_or_default();
    let about = reference(pod, Some(&container.name));
    let event = |kind, reason: &str, message: &str| agent.recorder.event(&about, kind, reason, message);
    let full = match crate::image::normalize(asked) {
        Ok(full) => full,
        Err(problem) => {
            let message = format!("Failed to apply default image tag {asked:?}: {problem}");
            event(EventType::Warning, "InspectFailed", &message);
            return refuse("InvalidImageName", message);
        }
    };
    let name = match (&full.tag, &full.digest) {
        (Some(tag), None) if !asked.ends_with(&format!(":{tag}")) => format!("{asked}:{tag}"),
        _ => asked.to_owned(),
    };
    let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
    if policy != "Always" {
        match agent.runtime.image(&name).await {
            Ok(Some(image)) => {
                let message =
                    format!("Container image {asked:?} already present on machine and can be accessed by the pod");
                event(EventType::Normal, "Pulled", &message);
                return Ok(image);
            }
            Ok(None) => {}
            Err(error) => {
                let message = format!("Failed to inspect image {name:?}: {error}");
                event(EventType::Warning, "InspectFailed", &message);
                return refuse("ImageInspectError", message);
            }
        }
        if policy == "Never" {
            let message = format!("Container image {asked:?} is not present with pull policy of Never");
            event(EventType::Warning, "ErrImageNeverPull", &message);
            return refuse("ErrImageNeverPull", message);
        }
    }
    let key = format!("{}_{asked}", uid(pod));
    if pulls.backoff.remaining_since_next(&key).is_some() {
        let mut message = format!("Back-off pulling image {asked:?}");
        event(EventType::Normal, "BackOff", &message);
        if let Some(previous) = pulls.previous.get(&key) {
            message = format!("{message}: {previous}");
        }
        return refuse("ImagePullBackOff", message);
    }
    pulls.previous.remove(&key);
    event(EventType::Normal, "Pulling", &format!("Pulling image {asked:?}"));
    let begun = Instant::now();
    let pulled = pull(agent, pod, &name, &full.repository, sandbox).await;
    let image = match pulled {
        Ok(took) => agent.runtime.image(&name).await.map(|image| image.map(|image| (image, took))),
        Err(error) => Err(error),
    };
    match image {
        Ok(Some((image, took))) => {
            let millis = |duration: Duration| {
                go_duration(Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
            };
            event(
                EventType::Normal,
                "Pulled",
                &format!(
                    "Successfully pulled image {asked:?} in {} ({} including waiting). Image size: {} bytes.",
                    millis(took),
                    millis(begun.elapsed()),
                    image.size
                ),
            );
            pulls.backoff.forget(&key);
            Ok(image)
        }
        other => {
            let error = match other {
                Err(error) => error.to_string(),
                _ => "the image is gone again".to_owned(),
            };
            event(EventType::Warning, "Failed", &format!("Failed to pull image {asked:?}: {error}"));
            pulls.backoff.next(&key, Duration::ZERO);
            pulls.previous.insert(key, format!("ErrImagePull: {error}"));
            refuse("ErrImagePull", error)
        }
    }
}

/// Pulls with each fitting credential in turn; how long it took.
async fn pull(
    agent: &Agent,
    pod: &Pod,
    name: &str,
    repository: &str,
    sandbox: &v1::PodSandboxConfig,
) -> Result<Duration, crate::cri::RuntimeError> {
    let _turn = match agent.config.serialize_image_pulls {
        true => Some(agent.pull_turn.acquire().await),
        false => None,
    };
    let begun = Instant::now();
    let mut credentials: Vec<Option<v1::AuthConfig>> =
        credentials(agent, pod, repository).await.into_iter().map(Some).collect();
    if credentials.is_empty() {
        credentials.push(None);
    }
    let mut last = crate::cri::RuntimeError::unknown("no credential fits");
    for credential in credentials {
        match agent.runtime.pull(name, credential, sandbox.clone()).await {
            Ok(_) => return Ok(begun.elapsed()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What the pod's pull secrets hold for a repository.
async fn credentials(agent: &Agent, pod: &Pod, repository: &str) -> Vec<v1::AuthConfig> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let listed = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    let mut found = Vec::new();
    for secret in listed.filter(|secret| !secret.name.is_empty()) {
        match agent.objects.secret(namespace, &secret.name).await {
            Ok(secret) => found.extend(matching(&secret, repository)),
            Err(error) => {
                tracing::debug!(pod = %full_name(pod), %error, "pull secret");
                let message = format!(
                    "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                    secret.name
                );
                let about = reference(pod, None);
                agent.recorder.event(&about, EventType::Warning, "FailedToRetrieveImagePullSecret", &message);
            }
        }
    }
    found
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Login {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

#[derive(serde::Deserialize)]
struct Logins {
    auths: BTreeMap<String, Login>,
}

fn matching(secret: &Secret, repository: &str) -> Vec<v1::AuthConfig> {
    let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    let logins = match (data(".dockerconfigjson"), data(".dockercfg")) {
        (Some(text), _) => serde_json::from_slice::<Logins>(text).map(|logins| logins.auths).unwrap_or_default(),
        (None, Some(text)) => serde_json::from_slice(text).unwrap_or_default(),
        (None, None) => BTreeMap::new(),
    };
    let mut fitting: Vec<(String, Login)> = logins
        .into_iter()
        .map(|(url, login)| (place(&url), login))
        .filter(|(place, _)| fits(place, repository))
        .collect();
    // The most particular first.
    fitting.sort_by_key(|(place, _)| std::cmp::Reverse(place.len()));
    fitting.into_iter().map(|(place, login)| auth(place, login)).collect()
}

/// Registry and path of a login's key, which may be a URL.
fn place(url: &str) -> String {
    let bare = url.trim_start_matches("https://").trim_start_matches("http://");
    let bare = bare.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    if bare == "index.docker.io" { "docker.io".to_owned() } else { bare.to_owned() }
}

fn fits(place: &str, repository: &str) -> bool {
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let (own_host, own_path) = repository.split_once('/').unwrap_or((repository, ""));
    let same_host = match host.strip_prefix("*.") {
        Some(rest) => own_host.split_once('.').is_some_and(|(_, own)| own == rest),
        None => host == own_host,
    };
    same_host && (path.is_empty() || own_path == path || own_path.starts_with(&format!("{path}/")))
}

fn auth(server: String, login: Login) -> v1::AuthConfig {
    let decoded = base64::engine::general_purpose::STANDARD.decode(login.auth.trim()).unwrap_or_default();
    let decoded = String::from_utf8_lossy(&decoded).into_owned();
    let (user, password) = decoded.split_once(':').unwrap_or_default();
    let or = |own: String, other: &str| if own.is_empty() { other.to_owned() } else { own };
    v1::AuthConfig {
        username: or(login.username, user),
        password: or(login.password, password.trim_end_matches('\0')),
        server_address: server,
        identity_token: login.identitytoken,
        registry_token: login.registrytoken,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_fits_its_registry_and_paths_below() {
        for (key, repository, wanted) in [
            ("https://index.docker.io/v1/", "docker.io/library/nginx", true),
            ("registry.example", "registry.example/a/b", true),
            ("registry.example/a", "registry.example/a/b", true),
            ("registry.example/c", "registry.example/a/b", false),
            ("*.example", "registry.example/a", true),
            ("other.example", "registry.example/a", false),
        ] {
            assert_eq!(fits(&place(key), repository), wanted, "{key} {repository}");
        }
    }
}
