//! One server, asked for config maps; what it says in the terms of a history.

use crate::history::{Key, Op, Outcome, Revision, Told, Value};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value as Json, json};
use std::time::Duration;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a watch may be silent: changes come all the time.
const SILENCE: Duration = Duration::from_secs(3);
/// Objects per page of a list.
const PAGE: usize = 7;

/// A client of one server.
#[derive(Clone)]
pub(super) struct Api(Client);

/// Why there is no answer.
type Trouble = String;

/// A running watch.
pub(super) struct Watching {
    body: Body,
    buffer: BytesMut,
}

impl Api {
    pub(super) async fn connect(kubeconfig: &str) -> Self {
        let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("we wrote it");
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.expect("we wrote it");
        config.connect_timeout = Some(Duration::from_secs(1));
        config.read_timeout = None;
        // A write must be sent once.
        config.default_retry = false;
        Api(Client::try_from(config).expect("a client"))
    }

    async fn send(&self, method: &str, path: &str, body: Option<Json>) -> Result<(u16, Body), Trouble> {
        let bytes = body.map_or_else(Vec::new, |b| serde_json::to_vec(&b).expect("plain data"));
        let request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(Body::from(bytes)).expect("a request");
        let response = self.0.send(request).await.map_err(|e| e.to_string())?;
        Ok((response.status().as_u16(), response.into_body()))
    }

    pub(super) async fn ask(&self, method: &str, path: &str, body: Option<Json>) -> Result<(u16, Json), Trouble> {
        let answer = async {
            let (code, body) = self.send(method, path, body).await?;
            let bytes = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
            Ok((code, serde_json::from_slice(&bytes).unwrap_or(Json::Null)))
        };
        tokio::time::timeout(ANSWER, answer).await.map_err(|_| "no answer in time".to_owned())?
    }

    pub(super) async fn ready(&self) -> Result<(), Trouble> {
        match self.ask("GET", "/readyz", None).await? {
            (200, _) => Ok(()),
            (code, _) => Err(format!("/readyz says {code}")),
        }
    }

    pub(super) async fn make_namespace(&self, name: &str) -> Result<(), Trouble> {
        let object = json!({"metadata": {"name": name}});
        match self.ask("POST", "/api/v1/namespaces", Some(object)).await? {
            (201 | 409, _) => Ok(()),
            (code, body) => Err(format!("{code}: {body}")),
        }
    }

    /// Carries out a call.
    pub(super) async fn call(&self, namespace: &str, op: &Op) -> Outcome {
        let all = format!("/api/v1/namespaces/{namespace}/configmaps");
        let one = |key: &Key| format!("{all}/k{key}");
        let answer = match op {
            Op::Create(key, value) => self.ask("POST", &all, Some(object(*key, *value, None))).await,
            Op::Update(key, value, base) => self.ask("PUT", &one(key), Some(object(*key, *value, Some(*base)))).await,
            Op::Delete(key, base) => {
                let options = json!({"preconditions": {"resourceVersion": base.to_string()}});
                self.ask("DELETE", &one(key), Some(options)).await
            }
            Op::Get(key) => self.ask("GET", &one(key), None).await,
            Op::List => return self.list(&all).await.unwrap_or(Outcome::Unknown),
        };
        let Ok((code, body)) = answer else { return Outcome::Unknown };
        match (op, code) {
            (Op::Create(..) | Op::Update(..), 200 | 201) => Outcome::Wrote(revision(&body)),
            (Op::Delete(..), 200) => Outcome::Deleted,
            (Op::Create(..), 409) | (Op::Update(..) | Op::Delete(..), 404 | 409) => Outcome::Refused,
            (Op::Get(_), 200) => Outcome::Found(Some((value(&body), revision(&body)))),
            (Op::Get(_), 404) => Outcome::Found(None),
            _ => Outcome::Unknown,
        }
    }

    /// All pages of a list, which must agree on the revision.
    async fn list(&self, all: &str) -> Result<Outcome, Trouble> {
        let (mut items, mut at, mut rest) = (Vec::new(), None, String::new());
        loop {
            let (code, body) = self.ask("GET", &format!("{all}?limit={PAGE}&continue={rest}"), None).await?;
            let shows = revision(&body);
            if code != 200 || *at.get_or_insert(shows) != shows {
                return Err(format!("{code} at {shows}"));
            }
            let found = body["items"].as_array().into_iter().flatten();
            items.extend(found.filter_map(|o| Some((key(o)?, value(o), revision(o)))));
            match body["metadata"]["continue"].as_str() {
                Some(more) if !more.is_empty() => more.clone_into(&mut rest),
                _ => return Ok(Outcome::Listed(shows, items)),
            }
        }
    }

    pub(super) async fn watch(&self, namespace: &str, from: Revision, seconds: u64) -> Result<Watching, Trouble> {
        let path = format!(
            "/api/v1/namespaces/{namespace}/configmaps?watch=true&allowWatchBookmarks=true&resourceVersion={from}\
             &timeoutSeconds={seconds}"
        );
        let sent = tokio::time::timeout(ANSWER, self.send("GET", &path, None)).await;
        match sent.map_err(|_| "no answer in time".to_owned())?? {
            (200, body) => Ok(Watching { body, buffer: BytesMut::new() }),
            (410, _) => Err("410".to_owned()),
            (code, _) => Err(format!("the watch was answered with {code}")),
        }
    }
}

impl Watching {
    /// The next event and its revision; none: the watch ended.
    pub(super) async fn next(&mut self) -> Option<(Revision, Told)> {
        loop {
            let line = self.line().await?;
            let event: Json = serde_json::from_slice(&line).ok()?;
            let (told, object) = (event["type"].as_str()?, &event["object"]);
            let told = match (told, key(object)) {
                ("BOOKMARK", _) => Told::Bookmark,
                ("ERROR", _) if object["code"] == 410 => Told::Gone,
                ("ERROR", _) => return None,
                // The namespace's own objects.
                (_, None) => continue,
                ("ADDED", Some(key)) => Told::Added(key, value(object)),
                ("MODIFIED", Some(key)) => Told::Modified(key, value(object)),
                (_, Some(key)) => Told::Deleted(key),
            };
            return Some((revision(object), told));
        }
    }

    async fn line(&mut self) -> Option<Bytes> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                return Some(self.buffer.split_to(end + 1).freeze());
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await.ok()??.ok()?;
            self.buffer.extend_from_slice(&frame.into_data().ok()?);
        }
    }
}

fn object(key: Key, value: Value, base: Option<Revision>) -> Json {
    let mut object = json!({"metadata": {"name": format!("k{key}")}, "data": {"value": value.to_string()}});
    if let Some(base) = base {
        object["metadata"]["resourceVersion"] = Json::from(base.to_string());
    }
    object
}

fn revision(object: &Json) -> Revision {
    object["metadata"]["resourceVersion"].as_str().and_then(|r| r.parse().ok()).unwrap_or(0)
}

fn key(object: &Json) -> Option<Key> {
    object["metadata"]["name"].as_str()?.strip_prefix('k')?.parse().ok()
}

fn value(object: &Json) -> Value {
    object["data"]["value"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0)
}
