//! Forms of answers and bodies.

use super::Server;
use serde_json::json;

const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_come_as_asked() {
    let s = Server::with_namespace("ns").await;
    s.post(MAPS, &json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await.ok();
    let path = format!("{MAPS}/a");
    let table = s.accepting(&path, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await.ok();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["apiVersion"], "meta.k8s.io/v1");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let whole =
        s.accepting(&format!("{MAPS}?includeObject=Object"), "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let whole = whole.ok();
    let row = whole["rows"].as_array().unwrap().iter().find(|r| r["object"]["metadata"]["name"] == "a").unwrap();
    assert_eq!(row["object"]["data"]["k"], "v");
    let partial = s.accepting(MAPS, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await.ok();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(partial["items"][0]["kind"], "PartialObjectMetadata");
    assert!(partial["items"][0].get("data").is_none());
    let yaml = s.accepting(&path, "application/yaml").await;
    assert!(yaml.text().contains("kind: ConfigMap"));
    let proto = s.accepting(&path, "application/vnd.kubernetes.protobuf").await;
    assert_eq!(&proto.body[..4], b"k8s\0");
    let list = s.accepting(MAPS, "application/vnd.kubernetes.protobuf").await;
    assert_eq!(kaji_api::codec::open_protobuf(&list.body).unwrap().kind, "ConfigMapList");
    let refused = s.accepting(&path, "text/html").await.message(406);
    assert_eq!(
        refused,
        "only the following media types are accepted: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_rows_makes_no_table() {
    let s = Server::with_namespace("ns").await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = br#"{"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}"#;
    let ask = async |shape: &str| {
        let accept = format!("application/json;as={shape};v=v1;g=meta.k8s.io");
        s.request("POST", path, &[("content-type", "application/json"), ("accept", &accept)], review).await
    };
    assert_eq!(ask("Table").await.code, 406);
    let partial = ask("PartialObjectMetadata").await.ok();
    assert_eq!((&partial["kind"], partial.get("status")), (&json!("PartialObjectMetadata"), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deprecated_kinds_are_warned_of() {
    let s = Server::with_namespace("ns").await;
    let warning = async |path: &str| s.get(path).await.warnings().pop();
    assert_eq!(
        warning("/api/v1/namespaces/ns/endpoints").await.as_deref(),
        Some("299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"")
    );
    assert_eq!(
        warning("/api/v1/componentstatuses").await.as_deref(),
        Some("299 - \"v1 ComponentStatus is deprecated in v1.19+\"")
    );
    assert_eq!(warning(MAPS).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_read_in_three_media() {
    let s = Server::with_namespace("ns").await;
    let yaml = b"kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: from-yaml\ndata:\n  k: v\n";
    s.request("POST", MAPS, &[("content-type", "application/yaml")], yaml).await.ok();
    let proto = s.accepting(&format!("{MAPS}/from-yaml"), "application/vnd.kubernetes.protobuf").await;
    s.delete(&format!("{MAPS}/from-yaml")).await.ok();
    // What was read cannot be created as it is; as an update of nothing it is refused after having been read.
    let put = s
        .request(
            "PUT",
            &format!("{MAPS}/from-yaml"),
            &[("content-type", "application/vnd.kubernetes.protobuf")],
            &proto.body,
        )
        .await;
    assert_eq!(put.message(404), "configmaps \"from-yaml\" not found");
    let odd = s.request("POST", MAPS, &[("content-type", "text/plain")], b"x").await.message(415);
    assert_eq!(
        odd,
        "the body of the request was in an unknown format - accepted media types include: application/json, \
         application/yaml, application/vnd.kubernetes.protobuf"
    );
    let broken = s.request("POST", MAPS, &[], b"{\"kind\":").await;
    assert_eq!(broken.code, 400);
    let broken = s.request("POST", MAPS, &[("content-type", "application/vnd.kubernetes.protobuf")], b"k8s\0xyz").await;
    assert_eq!(broken.code, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_get_indented_json() {
    let s = Server::with_namespace("ns").await;
    let path = "/api/v1/namespaces/ns";
    for (path, agent, indented) in [
        (path.to_owned(), "kubectl/v1.33", false),
        (path.to_owned(), "curl/8", true),
        (format!("{path}?pretty=true"), "x", true),
    ] {
        let answer = s.request("GET", &path, &[("user-agent", agent)], b"").await;
        assert_eq!(answer.text().contains("\n  \"kind\""), indented, "{agent}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_are_framed_for_protobuf() {
    let s = Server::with_namespace("ns").await;
    s.post(MAPS, &json!({"metadata": {"name": "a"}})).await.ok();
    let accept = "application/vnd.kubernetes.protobuf;stream=watch";
    let answer = s.request("GET", &format!("{MAPS}?watch=true&timeoutSeconds=1"), &[("accept", accept)], b"").await;
    assert_eq!(answer.headers["content-type"], accept);
    let length = u32::from_be_bytes(answer.body[..4].try_into().unwrap()) as usize;
    assert!(answer.body.len() >= length + 4);
    assert_eq!(&answer.body[4..11], b"\x0a\x05ADDED");
}
