//! Calls to a server on loopback.

use super::*;
use crate::tests::extension::{Extension, reply};
use crate::tests::{Server, refusing};
use kaji_api::value;
use serde_json::json;
use std::sync::atomic::Ordering;

const CALL: Call<'static> = Call { query: "timeout=1s", agent: "test", limit: Duration::from_secs(10), most: 1024 };

async fn extension() -> Extension {
    Extension::start(|request| {
        Box::pin(async move {
            match request.uri().path() {
                "/slow" => std::future::pending().await,
                "/long" => reply(200, vec![b'x'; 4096]),
                _ => reply(200, format!("{} {}", request.uri(), request.headers()["host"].to_str().unwrap())),
            }
        })
    })
    .await
}

fn config(json: &serde_json::Value) -> Value {
    kaji_api::codec::parse_json(json.to_string().as_bytes()).unwrap()
}

async fn text(remote: &Remote, call: Call<'_>) -> String {
    match remote.post(call, Bytes::from_static(b"{}")).await {
        Ok((code, body)) => format!("{code} {}", String::from_utf8_lossy(&body)),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_called_by_address_and_by_service() {
    let s = Server::with_namespace("ns").await;
    let e = extension().await;
    let open =
        |config: &serde_json::Value| Remote::new(&s.api, Peer::from_client_config(&self::config(config)).unwrap());
    let by_url = open(&e.client_config("/a"));
    let here = e.address;
    for _ in 0..10 {
        assert_eq!(text(&by_url, CALL).await, format!("200 /a?timeout=1s {here}"));
    }
    // One that was used a moment ago may not be free again yet.
    let opened = e.connections.load(Ordering::Relaxed);
    assert!(opened < 10, "connections are kept: {opened}");
    let service = json!({"metadata": {"name": "hook"}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
    let by_service = open(&json!({"caBundle": e.ca_bundle(),
        "service": {"namespace": "ns", "name": "hook", "port": here.port(), "path": "/b"}}));
    let url = format!("https://hook.ns.svc:{}/b?timeout=1s", here.port());
    assert_eq!(text(&by_service, CALL).await, format!("Post \"{url}\": service \"hook\" not found"));
    s.post("/api/v1/namespaces/ns/services", &service).await.ok();
    s.api.fresh().await.unwrap();
    assert_eq!(text(&by_service, CALL).await, format!("200 /b?timeout=1s hook.ns.svc:{}", here.port()));
    let slow = open(&e.client_config("/slow"));
    let late = text(&slow, Call { limit: Duration::from_millis(50), ..CALL }).await;
    assert_eq!(late, format!("Post \"https://{here}/slow?timeout=1s\": context deadline exceeded"));
    let long = text(&open(&e.client_config("/long")), CALL).await;
    assert_eq!(long, format!("Post \"https://{here}/long?timeout=1s\": the answer is longer than 1024 bytes"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_not_believed() {
    let s = Server::start().await;
    let (e, other) = (extension().await, extension().await);
    let mut config = e.client_config("/");
    config["caBundle"] = other.ca_bundle().into();
    let peer = Peer::from_client_config(&self::config(&config)).unwrap();
    let unknown = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    let said = text(&Remote::new(&s.api, peer.clone()), CALL).await;
    assert_eq!(said, format!("Post \"https://{}/?timeout=1s\": {unknown}", e.address));
    let insecure = Remote::new(&s.api, Peer { insecure: true, ..peer.clone() });
    assert_eq!(text(&insecure, CALL).await, format!("200 /?timeout=1s {}", e.address));
    let place = Place::Service { namespace: "ns".to_owned(), name: "gone".to_owned(), port: 443 };
    let nowhere = text(&Remote::new(&s.api, Peer { place, ..peer.clone() }), CALL).await;
    assert_eq!(nowhere, "Post \"https://gone.ns.svc:443/?timeout=1s\": service \"gone\" not found");
    let (_kept, address) = refusing();
    let (place, _) = Place::parse(&format!("https://{address}")).unwrap();
    let dead = text(&Remote::new(&s.api, Peer { place, ..peer }), CALL).await;
    let refused = format!("dial tcp {address}: connect: connection refused");
    assert_eq!(dead, format!("Post \"https://{address}/?timeout=1s\": {refused}"));
}

#[test]
fn client_configs_name_a_place() {
    let peer = |config: Value| Peer::from_client_config(&config);
    let url = peer(value!({"url": "https://[fd00::1]:8443/x"})).unwrap();
    assert_eq!((url.origin().as_str(), url.path.as_str()), ("https://[fd00::1]:8443", "/x"));
    let plain = peer(value!({"url": "https://hook.example.org"})).unwrap();
    assert_eq!((plain.origin().as_str(), plain.path.as_str()), ("https://hook.example.org", "/"));
    let service = peer(value!({"service": {"namespace": "n", "name": "s", "path": "p"}})).unwrap();
    assert_eq!((service.origin().as_str(), service.path.as_str()), ("https://s.n.svc:443", "/p"));
    assert!(peer(value!({})).unwrap_err().contains("either service or URL"));
}
