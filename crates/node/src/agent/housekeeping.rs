//! What nobody asks for but somebody must do: orphans, logs that grow, images that pile up.

use super::{Agent, log_rotation};
use crate::cri::v1;
use k8s_openapi::api::core::v1::Pod;
use kaji_client::event::EventType;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs all of it until shutdown. The pods of the API must be known by now.
pub(crate) async fn run(agent: Arc<Agent>) {
    let mut images = Images::default();
    let mut orphans = tokio::time::interval(Duration::from_secs(300));
    let mut logs = tokio::time::interval(Duration::from_secs(10));
    let mut collection = tokio::time::interval(Duration::from_secs(300));
    loop {
        tokio::select! {
            _ = orphans.tick() => {
                clear_orphans(&agent).await;
                // News makes pods prompt; looking at all of them now and then makes them right.
                agent.wake_all();
            }
            _ = logs.tick() => log_rotation::rotate(&agent).await,
            _ = collection.tick() => images.collect(&agent).await,
            () = agent.shutdown.cancelled() => return,
        }
    }
}

/// Ends what the runtime and the disk have of pods that the API does not know.
async fn clear_orphans(agent: &Arc<Agent>) {
    for known in agent.runtime.known().await.unwrap_or_default() {
        if agent.has(&known.uid) || known.uid.is_empty() {
            continue;
        }
        tracing::info!(pod = %known.name, namespace = %known.namespace, "ending a pod that the API does not know");
        let mut pod = Pod::default();
        pod.metadata.uid = Some(known.uid);
        pod.metadata.namespace = Some(known.namespace);
        pod.metadata.name = Some(known.name);
        agent.clear_away(pod);
    }
    for uid in agent.volumes.known().await {
        if !agent.has(&uid)
            && let Err(error) = agent.volumes.tear_down(&uid).await
        {
            tracing::warn!(%uid, %error, "volumes of a pod that is gone");
        }
    }
}

/// When images were last used, as far as this run knows.
#[derive(Default)]
struct Images {
    last_used: HashMap<String, Instant>,
    first_seen: HashMap<String, Instant>,
}

impl Images {
    /// Removes unused images, longest unused first, when their file system runs full.
    async fn collect(&mut self, agent: &Agent) {
        let Ok(images) = agent.runtime.images().await else { return };
        let now = Instant::now();
        let used = used(agent).await;
        for image in &images {
            self.first_seen.entry(image.id.clone()).or_insert(now);
            if used.contains(&image.id) {
                self.last_used.insert(image.id.clone(), now);
            }
        }
        let Some(mut excess) = excess(agent).await else { return };
        let mut idle: Vec<&v1::Image> =
            images.iter().filter(|image| !image.pinned && !used.contains(&image.id)).collect();
        idle.sort_by_key(|image| self.last_used.get(&image.id).copied());
        for image in idle {
            let young =
                self.first_seen.get(&image.id).is_none_or(|seen| seen.elapsed() < agent.config.minimum_image_ttl);
            if excess == 0 || young || Some(&image.id) == sandbox_image(agent, &images).as_ref() {
                continue;
            }
            if agent.runtime.remove_image(&image.id).await.is_ok() {
                excess = excess.saturating_sub(image.size);
            }
        }
        if excess > 0 {
            let about = crate::node::reference(&agent.config.node_name);
            let message =
                format!("Failed to garbage collect required amount of images. {excess} bytes are still needed.");
            agent.recorder.event(&about, EventType::Warning, "FreeDiskSpaceFailed", &message);
        }
    }
}

fn sandbox_image(agent: &Agent, images: &[v1::Image]) -> Option<String> {
    let name = agent.config.pod_infra_container_image.as_ref()?;
    let full = crate::image::normalize(name).ok()?.to_string();
    images.iter().find(|image| image.repo_tags.contains(&full)).map(|image| image.id.clone())
}

async fn used(agent: &Agent) -> HashSet<String> {
    let mut used = HashSet::new();
    for pod in agent.pods() {
        if let Ok(view) = agent.runtime.pod(crate::pod::uid(&pod)).await {
            for container in view.containers {
                if let Ok(Some(image)) = agent.runtime.image(&container.image).await {
                    used.insert(image.id);
                }
                used.insert(container.image_ref);
            }
        }
    }
    used
}

/// How many bytes of images are too many.
async fn excess(agent: &Agent) -> Option<u64> {
    let filesystems = agent.runtime.image_filesystems().await.ok()?;
    let place = filesystems.first()?.fs_id.as_ref()?.mountpoint.clone();
    let stat = rustix::fs::statvfs(place.as_str()).ok()?;
    let (capacity, free) = (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize);
    let used_percent = 100 - free * 100 / capacity.max(1);
    (used_percent >= u64::from(agent.config.image_gc_high_threshold))
        .then(|| (capacity * (100 - u64::from(agent.config.image_gc_low_threshold)) / 100).saturating_sub(free))
}
