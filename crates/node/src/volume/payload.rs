//! What the files of config map, secret, downward API and projected volumes hold.

use super::atomic::{File, Files};
use super::tokens::Tokens;
use crate::objects::{ObjectError, Objects};
use crate::pod::{Facts, fields};
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, ServiceAccountTokenProjection,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Upstream's default mode of such files.
pub(super) const DEFAULT_MODE: i32 = 0o644;

/// What payloads are made from.
pub(super) struct Sources<'a> {
    pub(super) pod: &'a Pod,
    pub(super) ips: &'a [String],
    pub(super) facts: &'a Facts,
    pub(super) objects: &'a Objects,
    pub(super) tokens: &'a Tokens,
}

fn namespace<'a>(sources: &Sources<'a>) -> &'a str {
    sources.pod.metadata.namespace.as_deref().unwrap_or_default()
}

fn file(data: Vec<u8>, mode: i32) -> File {
    File { data, mode: u32::try_from(mode).unwrap_or(0o644), owner: None }
}

/// The files of a config map.
pub(super) async fn config_map(
    sources: &Sources<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
) -> Result<Files, String> {
    let found = present(sources.objects.config_map(namespace(sources), name).await, optional)?;
    let mut data: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    if let Some(map) = &found {
        data.extend(map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes())));
        data.extend(map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())));
    }
    select(data, items, mode, optional, || "configmap references non-existent config key: {}".to_string())
}

/// The files of a secret.
pub(super) async fn secret(
    sources: &Sources<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
) -> Result<Files, String> {
    let found = present(sources.objects.secret(namespace(sources), name).await, optional)?;
    let mut data: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    if let Some(secret) = &found {
        data.extend(secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())));
    }
    select(data, items, mode, optional, || "references non-existent secret key: {}".to_owned())
}

fn present<T>(answer: Result<Arc<T>, ObjectError>, optional: bool) -> Result<Option<Arc<T>>, String> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(ObjectError::NotFound(_)) if optional => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn select(
    data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    missing: impl Fn() -> String,
) -> Result<Files, String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, data)| (key, file(data, mode))).collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.get(&item.key) {
            Some(data) => drop(files.insert(item.path.clone(), file(data.clone(), item.mode.unwrap_or(mode)))),
            None if optional => {}
            None => return Err(missing().replace("{}", &item.key)),
        }
    }
    Ok(files)
}

/// The files of a downward API volume.
pub(super) fn downward(
    sources: &Sources<'_>,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
) -> Result<Files, String> {
    let mut files = Files::new();
    for item in items.unwrap_or_default() {
        let text = if let Some(field) = &item.field_ref {
            fields::field(sources.pod, &field.field_path, sources.ips, sources.facts)?
        } else if let Some(selector) = &item.resource_field_ref {
            let name = selector.container_name.as_deref().unwrap_or_default();
            let container = crate::pod::container(sources.pod, name);
            let container = container.ok_or_else(|| format!("container {name} not found"))?;
            fields::resource(selector, &container, sources.facts)?
        } else {
            continue;
        };
        files.insert(item.path.clone(), file(text.into_bytes(), item.mode.unwrap_or(mode)));
    }
    Ok(files)
}

/// The files of a projected volume and when something in it must be renewed.
pub(super) async fn projected(
    sources: &Sources<'_>,
    source: &ProjectedVolumeSource,
) -> Result<(Files, Option<Duration>), String> {
    let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
    let mut files = Files::new();
    let mut renew: Option<Duration> = None;
    for part in source.sources.iter().flatten() {
        if let Some(part) = &part.config_map {
            let optional = part.optional == Some(true);
            files.extend(config_map(sources, &part.name, part.items.as_deref(), mode, optional).await?);
        } else if let Some(part) = &part.secret {
            let optional = part.optional == Some(true);
            files.extend(secret(sources, &part.name, part.items.as_deref(), mode, optional).await?);
        } else if let Some(part) = &part.downward_api {
            files.extend(downward(sources, part.items.as_deref(), mode)?);
        } else if let Some(part) = &part.service_account_token {
            let (path, file, left) = token(sources, part, mode).await?;
            renew = Some(renew.map_or(left, |known| known.min(left)));
            files.insert(path, file);
        } else {
            return Err("it has a source of a kind that this node does not support".to_owned());
        }
    }
    Ok((files, renew))
}

async fn token(
    sources: &Sources<'_>,
    part: &ServiceAccountTokenProjection,
    mode: i32,
) -> Result<(String, File, Duration), String> {
    let audience = part.audience.as_deref().unwrap_or_default();
    let (text, left) = sources.tokens.get(sources.pod, audience, part.expiration_seconds.unwrap_or(3600)).await?;
    let group = sources.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()).and_then(|c| c.fs_group);
    let owner = single_user(sources.pod);
    // A token that one user or group can be given is nobody else's business.
    let mode = if group.is_some() || owner.is_some() { 0o600 } else { mode };
    Ok((part.path.clone(), File { owner, ..file(text.into_bytes(), mode) }, left))
}

/// The user that all containers run as, if they agree on one.
fn single_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let mut users = crate::resources::containers(spec).map(|c| crate::pod::security::run_as_user(pod, c));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok()).flatten()
}
