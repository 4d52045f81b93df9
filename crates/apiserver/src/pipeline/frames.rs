//! The body of a watch: events framed as JSON lines or length-delimited protobuf.

use super::fairness::WatchHold;
use super::metrics::{Events, WatchGuard};
use super::negotiate::{Format, Media, Shape};
use super::output::{Presenter, encode};
use super::protobuf;
use crate::cache::{Change, Entry};
use crate::registry::convert;
use crate::registry::watch::{EventType, Told, Watcher};
use crate::server::Api;
use crate::server::body::{Body, Response};
use bytes::{Bytes, BytesMut};
use futures::stream;
use kaji_api::{Value, value};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// Events that are ready are sent together up to this size.
const BURST: usize = 64 << 10;

/// The answer to a watch; it ends when the server stops.
pub(crate) fn respond(api: &Api, watcher: Watcher, presenter: Presenter, hold: Option<Arc<WatchHold>>) -> Response {
    let content_type = match presenter.format.media {
        Media::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        _ => "application/json",
    };
    let _counted = WatchGuard::new(api, &presenter.stored);
    let stop = Box::pin(api.stopping().clone().cancelled_owned());
    let events = api.metrics().observed.events(&presenter.row);
    let passes = presenter.passes_bytes();
    let mut state =
        State { watcher, presenter, passes, over: false, headed: false, stop, hold, beginning: true, events, _counted };
    state.see_to_hold();
    let pieces = stream::unfold(state, |mut state| async move {
        let piece = state.next().await?;
        Some((piece, state))
    });
    super::output::answer(200, content_type, Body::stream(pieces, None))
}

struct State {
    watcher: Watcher,
    presenter: Presenter,
    /// Objects go out as they are stored: the bytes exist, and copying them is all there is to do.
    passes: bool,
    over: bool,
    /// A table's columns have been sent.
    headed: bool,
    /// Kept over events, as the watcher's timer is.
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    hold: Option<Arc<WatchHold>>,
    /// What the watch begins with is not sent yet.
    beginning: bool,
    events: Arc<Events>,
    _counted: WatchGuard,
}

impl State {
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        self.see_to_hold();
        let told = tokio::select! {
            biased;
            () = &mut self.stop => return None,
            told = self.watcher.next() => told?,
        };
        let mut burst = BytesMut::new();
        let mut next = Some(told);
        while let Some(told) = next {
            let told = self.presented(told).await;
            self.write(told, &mut burst);
            next = (!self.over && burst.len() < BURST).then(|| self.watcher.ready()).flatten();
        }
        Some(burst.freeze())
    }

    /// An event of a custom resource in the version asked for.
    async fn presented(&self, told: Told) -> Told {
        let row = &self.presenter.row;
        match told {
            Told::Event(kind, entry, change) if row.custom().is_some() => {
                match convert::present(row, vec![entry], false).await {
                    Ok(mut one) => Told::Event(kind, one.pop().expect("as many as were given"), change),
                    Err(status) => Told::Error(status),
                }
            }
            told => told,
        }
    }

    /// Gives the seat back once all that the watch began with is sent.
    fn see_to_hold(&mut self) {
        if self.beginning && !self.watcher.is_beginning() {
            self.beginning = false;
            if let Some(hold) = &self.hold {
                hold.initialized();
            }
        }
    }

    fn write(&mut self, told: Told, out: &mut BytesMut) {
        match told {
            Told::Event(kind, entry, change) => self.event(kind, &entry, change.as_deref(), out),
            Told::Bookmark { revision, initial } => {
                let object = self.bookmark(revision, initial);
                self.wrap("BOOKMARK", &encode(&object, self.presenter.format), out);
            }
            Told::Error(status) => {
                self.over = true;
                let format = Format { shape: Shape::Whole, ..self.presenter.format };
                self.wrap("ERROR", &encode(&status.to_value(), format), out);
            }
        }
    }

    fn event(&mut self, kind: EventType, entry: &Entry, change: Option<&Change>, out: &mut BytesMut) {
        let word = kind.word();
        if self.passes {
            return self.wrap(word, &entry.json, out);
        }
        if matches!(self.presenter.format.shape, Shape::Table(_)) {
            self.presenter.table.no_headers = std::mem::replace(&mut self.headed, true);
            return self.wrap(word, &self.presenter.encode(entry), out);
        }
        let Some(change) = change else { return self.wrap(word, &self.presenter.encode(entry), out) };
        let key = self.representation();
        let kept = change.frames.lock().iter().find(|(k, _)| *k == key).map(|(_, object)| object.clone());
        let object = kept.unwrap_or_else(|| {
            // Encoded outside the lock: two watchers may do it at once, which is only a little waste.
            let object = self.presenter.encode(entry);
            change.frames.lock().push((key, object.clone()));
            object
        });
        self.wrap(word, &object, out);
    }

    /// What distinguishes encodings of one change.
    fn representation(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let p = &self.presenter;
        (p.row.group, p.row.version, p.format.media, p.format.shape).hash(&mut hasher);
        hasher.finish()
    }

    fn wrap(&self, word: &str, object: &[u8], out: &mut BytesMut) {
        self.events.sent(object.len());
        if self.presenter.format.media == Media::Protobuf {
            return out.extend_from_slice(&protobuf::watch_event(word, object));
        }
        out.reserve(object.len() + word.len() + 24);
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        out.extend_from_slice(object);
        out.extend_from_slice(b"}\n");
    }

    fn bookmark(&self, revision: u64, initial: bool) -> Value {
        let row = &self.presenter.row;
        let mut metadata = value!({"resourceVersion": (revision.to_string())});
        if initial {
            metadata.set("annotations", value!({"k8s.io/initial-events-end": "true"}));
        }
        let (kind, api_version) = match self.presenter.format.shape {
            Shape::Whole => (row.kind, row.api_version()),
            Shape::Partial(version) => ("PartialObjectMetadata", format!("meta.k8s.io/{version}")),
            Shape::Table(version) => ("Table", format!("meta.k8s.io/{version}")),
        };
        let mut object = value!({"kind": (kind), "apiVersion": (api_version)});
        object.set("metadata", metadata);
        match self.presenter.format.shape {
            Shape::Whole => row.ty().normalize(&mut object),
            Shape::Table(_) => table_bookmark(row.kind, &row.api_version(), &mut object),
            Shape::Partial(_) => {}
        }
        object
    }
}

/// A bookmark among table events carries the object in a row, as other events do.
fn table_bookmark(kind: &str, api_version: &str, object: &mut Value) {
    let metadata = object.remove("metadata").unwrap_or_default();
    let mut inner = value!({"kind": (kind), "apiVersion": (api_version)});
    inner.set("metadata", metadata.clone());
    let mut row = value!({"cells": []});
    row.set("object", inner);
    object.set("metadata", value!({"resourceVersion": (metadata["resourceVersion"].str())}));
    object.set("columnDefinitions", Value::Null);
    object.set("rows", Value::Array(vec![row]));
}
