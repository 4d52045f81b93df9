//! Just enough of an API server for informers: lists, and watches of what is put afterwards.

use futures::stream::{self, Stream, StreamExt};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use kaji_client::Client;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

type Body = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>>;

#[derive(Clone, Default)]
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<(String, String), Json>,
    watchers: Vec<(String, mpsc::UnboundedSender<String>)>,
}

impl Api {
    /// Creates or replaces an object of a resource (`services`).
    pub(crate) fn put(&self, resource: &str, name: &str, mut object: Json) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!("ns");
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let known = state.objects.insert((resource.into(), name.into()), object.clone()).is_some();
        state.tell(resource, if known { "MODIFIED" } else { "ADDED" }, object);
    }

    pub(crate) fn delete(&self, resource: &str, name: &str) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let mut object = state.objects.remove(&(resource.into(), name.into())).expect("an object to delete");
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.tell(resource, "DELETED", object);
    }

    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        kaji_client::local::client(tower::service_fn(move |request| {
            let response = api.answer(&request);
            async move { Ok::<_, Infallible>(response) }
        }))
    }

    fn answer(&self, request: &Request<kube::client::Body>) -> Response<Body> {
        let resource = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let watch = request.uri().query().unwrap_or_default().contains("watch=true");
        let mut state = self.state.lock().unwrap();
        let body: Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>> = if watch {
            let from: u64 = request
                .uri()
                .query()
                .unwrap()
                .split('&')
                .find_map(|p| p.strip_prefix("resourceVersion="))
                .and_then(|v| v.parse().ok())
                .unwrap_or(0);
            let (tell, events) = mpsc::unbounded_channel();
            // What came between the list and this watch; deletions in between do not occur in the tests.
            let missed = state.objects.iter().filter(|((r, _), o)| *r == resource && version(o) > from);
            missed.for_each(|(_, object)| drop(tell.send(event("ADDED", object))));
            state.watchers.push((resource, tell));
            let lines = stream::unfold(events, async |mut events| Some((events.recv().await?, events)));
            Box::pin(lines.map(|event| Ok(Frame::data(Bytes::from(format!("{event}\n"))))))
        } else {
            let items: Vec<&Json> = state.objects.iter().filter(|((r, _), _)| *r == resource).map(|(_, o)| o).collect();
            let list = json!({"metadata": {"resourceVersion": state.version.to_string()}, "items": items});
            Box::pin(stream::iter([Ok(Frame::data(Bytes::from(list.to_string())))]))
        };
        Response::builder().header("Content-Type", "application/json").body(StreamBody::new(body)).unwrap()
    }
}

fn version(object: &Json) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// The type first, as every API server writes it.
fn event(kind: &str, object: &Json) -> String {
    format!(r#"{{"type":"{kind}","object":{object}}}"#)
}

impl State {
    fn tell(&mut self, resource: &str, kind: &str, object: Json) {
        let event = event(kind, &object);
        self.watchers.retain(|(of, tell)| of != resource || tell.send(event.clone()).is_ok());
    }
}
