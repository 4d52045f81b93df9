//! Learning of ended containers without polling: containerd's task events, or CRI's own event stream.
//!
//! containerd tells of an exit before its CRI side has taken it in; the event is passed on once CRI shows it.
//! A runtime with neither stream is looked at every second, as upstream does.

use super::Event;
use crate::cri::containerd_api::events::{Envelope, SubscribeRequest, TaskEvent, events_client::EventsClient};
use crate::cri::{Cri, RuntimeError, channel, v1};
use prost::Message;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// By then a refusal would have come.
const SILENCE: Duration = Duration::from_millis(200);
/// How long CRI may lag behind containerd; it tries again and again where its own clean-up fails.
const LAG: Duration = Duration::from_secs(600);

/// Sends events until the receiver is gone; reconnects by itself.
pub(super) async fn follow(cri: &Cri, socket: &Path, events: mpsc::Sender<Event>) {
    let mut delay = Duration::from_millis(100);
    while !events.is_closed() {
        let outcome = match containerd(cri, socket, &events).await {
            Err(error) if error.is_unimplemented() => match standard(cri, &events).await {
                Err(error) if error.is_unimplemented() => poll(&events).await,
                other => other,
            },
            other => other,
        };
        match outcome {
            Ok(()) => delay = Duration::from_millis(100),
            Err(error) => tracing::debug!(%error, "event stream of the runtime ended"),
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(Duration::from_secs(5));
    }
}

/// containerd's stream: one event per ended process.
async fn containerd(cri: &Cri, socket: &Path, events: &mpsc::Sender<Event>) -> Result<(), RuntimeError> {
    let filters = vec![r#"namespace==k8s.io,topic=="/tasks/exit""#.to_owned()];
    let mut client = EventsClient::new(channel(socket));
    let mut subscription = std::pin::pin!(client.subscribe(SubscribeRequest { filters }));
    // It says nothing, not even that it listens, before the first event.
    let refused = tokio::time::timeout(SILENCE, &mut subscription).await;
    if events.send(Event::Missed).await.is_err() {
        return Ok(());
    }
    let mut stream = match refused {
        Ok(answer) => answer?.into_inner(),
        Err(_) => tokio::select! {
            answer = subscription => answer?.into_inner(),
            () = events.closed() => return Ok(()),
        },
    };
    while let Some(envelope) = stream.message().await? {
        let Some(id) = ended_container(&envelope) else { continue };
        let (cri, events) = (cri.clone(), events.clone());
        tokio::spawn(async move {
            until_shown(&cri, &id).await;
            let _ = events.send(Event::Ended(id)).await;
        });
    }
    Ok(())
}

/// The container whose first process ended; none for processes started in it later.
fn ended_container(envelope: &Envelope) -> Option<String> {
    let event = TaskEvent::decode(envelope.event.as_ref()?.value.as_slice()).ok()?;
    (event.id.is_empty() || event.id == event.container_id).then_some(event.container_id)
}

async fn until_shown(cri: &Cri, id: &str) {
    let shown = async {
        let mut delay = Duration::from_millis(2);
        while still_shown_running(cri, id).await {
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(Duration::from_secs(1));
        }
    };
    if tokio::time::timeout(LAG, shown).await.is_err() {
        tracing::warn!(%id, "the runtime does not show the end of a container that its events told");
    }
}

async fn still_shown_running(cri: &Cri, id: &str) -> bool {
    let container = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
    if let Ok(answer) = cri.container_status(container).await {
        return answer.status.is_some_and(|status| status.state() == v1::ContainerState::ContainerRunning);
    }
    let sandbox = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
    let answer = cri.pod_sandbox_status(sandbox).await;
    answer.is_ok_and(|a| a.status.is_some_and(|s| s.state() == v1::PodSandboxState::SandboxReady))
}

/// CRI's own stream.
async fn standard(cri: &Cri, events: &mpsc::Sender<Event>) -> Result<(), RuntimeError> {
    let mut stream = cri.container_events().await?;
    if events.send(Event::Missed).await.is_err() {
        return Ok(());
    }
    while let Some(event) = stream.message().await? {
        let stopped = event.container_event_type() == v1::ContainerEventType::ContainerStoppedEvent;
        if stopped && events.send(Event::Ended(event.container_id)).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn poll(events: &mpsc::Sender<Event>) -> Result<(), RuntimeError> {
    while events.send(Event::Missed).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
