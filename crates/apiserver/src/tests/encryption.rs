//! Encryption at rest, seen in the store.

use super::harness::Server;
use crate::encryption::{Options, rotation};
use crate::server::{Api, StartError};
use bytes::Bytes;
use kaji_store::{Change, Range, Store};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KEY1: &str = "{name: key1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}";
const KEY2: &str = "{name: key2, secret: HxwdGBsaFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEAHh4=}";
const OTHER1: &str = "{name: key1, secret: HxwdGBsaFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEAHh4=}";

fn write(file: &Path, providers: &str) {
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n\
         resources: [{{resources: [secrets, '*.apps'], providers: [{providers}]}}]\n"
    );
    std::fs::write(file, text).unwrap();
}

fn aesgcm(keys: &str) -> String {
    format!("{{aesgcm: {{keys: [{keys}]}}}}")
}

struct Sealed {
    server: Server,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Sealed {
    async fn start(providers: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("enc.yaml");
        write(&file, providers);
        let options = Options { provider_config: Some(file.clone()), ..Options::default() };
        let server = Server::start_with(|config| config.encryption = options).await;
        Sealed { server, file, _dir: dir }
    }

    async fn create(&self, name: &str) {
        let secret = json!({"metadata": {"name": name}, "stringData": {"password": "hunter2"}});
        self.server.post("/api/v1/namespaces/default/secrets", &secret).await.ok();
    }

    async fn stored(&self, name: &str) -> Bytes {
        let caches = self.server.api.caches();
        let key = format!("/registry/secrets/default/{name}");
        let found = caches.store().range(Range { end: format!("{key}\0"), ..Range::prefix(&key) }).await.unwrap();
        found.records[0].value.clone()
    }

    async fn reload(&self, providers: &str) -> String {
        write(&self.file, providers);
        let caches = self.server.api.caches();
        caches.sealer().reload(&self.file, caches).await;
        self.server.get("/metrics").await.text()
    }

    async fn rotated(&self) {
        for _ in 0..10 {
            if rotation::round(self.server.api.caches()).await {
                return;
            }
        }
        panic!("values are still stale: {:?}", self.server.api.caches().usage());
    }

    async fn readable(&self, name: &str) {
        let path = format!("/api/v1/namespaces/default/secrets/{name}");
        let secret = self.server.get(&path).await.ok();
        assert_eq!(secret["data"]["password"], "aHVudGVyMg==");
    }
}

fn text(stored: &Bytes) -> String {
    String::from_utf8_lossy(stored).into_owned()
}

const FAILURES: &str = "apiserver_encryption_config_controller_automatic_reloads_total{";

#[tokio::test]
async fn covered_resources_are_sealed_and_others_are_not() {
    let sealed = Sealed::start(&format!("{}, {{identity: {{}}}}", aesgcm(KEY1))).await;
    sealed.create("a").await;
    let stored = sealed.stored("a").await;
    assert!(stored.starts_with(b"k8s:enc:aesgcm:v1:key1:"), "{}", text(&stored));
    assert!(!text(&stored).contains("hunter2") && !text(&stored).contains("aHVudGVyMg"));
    sealed.readable("a").await;
    let caches = sealed.server.api.caches();
    let others = caches.store().range(Range::prefix("/registry/namespaces/")).await.unwrap();
    assert!(others.records.iter().all(|r| !r.value.starts_with(b"k8s:enc:")));
    let page = sealed.server.get("/metrics").await.text();
    let count = r#"kaji_encryption_objects{prefix="k8s:enc:aesgcm:v1:key1:",resource="secrets",stale="false"} "#;
    assert!(page.contains(count), "{page}");
    let writes = r#"apiserver_storage_transformation_operations_total{resource="secrets",status="OK",transformation_type="to_storage",transformer_prefix="k8s:enc:aesgcm:v1:"} "#;
    assert!(page.contains(writes), "{page}");
}

#[tokio::test]
async fn a_key_is_rotated_and_dropped_only_when_nothing_needs_it() {
    let sealed = Sealed::start(&aesgcm(KEY1)).await;
    sealed.create("a").await;
    // Without the old key: refused, and said.
    let page = sealed.reload(&aesgcm(KEY2)).await;
    assert!(page.contains("status=\"failure\"} 1\n") && page.contains(FAILURES), "{page}");
    // With another secret under the old name: refused.
    let page = sealed.reload(&format!("{}, {{identity: {{}}}}", aesgcm(OTHER1))).await;
    assert!(page.contains("status=\"failure\"} 2\n"), "{page}");
    sealed.create("b").await;
    assert!(sealed.stored("b").await.starts_with(b"k8s:enc:aesgcm:v1:key1:"));
    // The new one first, the old one still there: taken, and everything is written anew.
    let page = sealed.reload(&aesgcm(&format!("{KEY2}, {KEY1}"))).await;
    assert!(page.contains("status=\"success\"} 1\n"), "{page}");
    sealed.rotated().await;
    for name in ["a", "b"] {
        assert!(sealed.stored(name).await.starts_with(b"k8s:enc:aesgcm:v1:key2:"));
        sealed.readable(name).await;
    }
    // Now the old one may go.
    let page = sealed.reload(&aesgcm(KEY2)).await;
    assert!(page.contains("status=\"success\"} 2\n"), "{page}");
    sealed.readable("a").await;
    // Decrypting all again needs nothing but identity first.
    sealed.reload(&format!("{{identity: {{}}}}, {}", aesgcm(KEY2))).await;
    sealed.rotated().await;
    assert!(!sealed.stored("a").await.starts_with(b"k8s:enc:"));
    sealed.readable("a").await;
}

#[tokio::test]
async fn what_a_write_would_not_change_is_still_written_with_the_new_key() {
    let sealed = Sealed::start(&aesgcm(KEY1)).await;
    sealed.create("a").await;
    let options = aesgcm(&format!("{KEY2}, {KEY1}"));
    sealed.reload(&options).await;
    let path = "/api/v1/namespaces/default/secrets/a";
    let secret = sealed.server.get(path).await.ok();
    let mut put = secret.clone();
    put["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    sealed.server.put(path, &put).await.ok();
    assert!(sealed.stored("a").await.starts_with(b"k8s:enc:aesgcm:v1:key2:"));
}

#[tokio::test]
async fn values_of_the_first_versions_are_read_and_written_anew() {
    let sealed = Sealed::start(&format!("{}, {{identity: {{}}}}", aesgcm(KEY1))).await;
    sealed.create("a").await;
    sealed.readable("a").await;
    let plain = {
        let entry = sealed.server.api.caches().get("secrets").unwrap().get("/registry/secrets/default/a").unwrap();
        crate::cache::to_stored(&entry.decode())
    };
    let Server { api, dir, .. } = sealed.server;
    let config = api.config().clone();
    let store = api.caches().store().clone();
    api.stop();
    drop(api);
    let former = crate::encryption::seal_as_former(&[9; 32], "/registry/secrets/default/a", &plain);
    let change = Change::Put("/registry/secrets/default/a".to_owned(), former.into());
    store.commit(Vec::new(), vec![change]).await.unwrap();
    let without = Api::start(config.clone(), store.clone()).await;
    let Err(StartError::BadFile { why, .. }) = without else { panic!("it needs the key") };
    assert!(
        why.starts_with(
            "it cannot open 1 stored values with the prefix \"kaji:aesgcm:\", such as /registry/secrets/default/a"
        ),
        "{why}"
    );
    let key = dir.0.join("encryption.key");
    std::fs::write(&key, "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n").unwrap();
    let mut config = config;
    config.encryption.former_key = Some(key);
    let api = Api::start(config, store.clone()).await.unwrap();
    rotation::round(api.caches()).await;
    let key = "/registry/secrets/default/a";
    let found = store.range(Range { end: format!("{key}\0"), ..Range::prefix(key) }).await.unwrap();
    assert!(found.records[0].value.starts_with(b"k8s:enc:aesgcm:v1:key1:"));
}

#[tokio::test]
async fn a_start_without_the_key_is_refused_naming_it() {
    let sealed = Sealed::start(&aesgcm(KEY1)).await;
    sealed.create("a").await;
    let (mut config, store) = (sealed.server.api.config().clone(), sealed.server.api.caches().store().clone());
    sealed.server.api.stop();
    write(&sealed.file, &format!("{}, {{identity: {{}}}}", aesgcm(KEY2)));
    let refused = Api::start(config.clone(), store.clone()).await.err().unwrap().to_string();
    assert!(
        refused.contains("k8s:enc:aesgcm:v1:key1:") && refused.contains("/registry/secrets/default/a"),
        "{refused}"
    );
    config.encryption.provider_config = None;
    let refused = Api::start(config, store).await.err().unwrap().to_string();
    assert!(refused.contains("identity transformer tried to read encrypted data"), "{refused}");
}

#[tokio::test]
async fn a_plugin_keeps_the_key_and_may_change_it() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kms.sock");
    let plugin = crate::encryption::Plugin::start(&socket);
    let kms = format!("{{kms: {{apiVersion: v2, name: vault, endpoint: 'unix://{}'}}}}", socket.display());
    let sealed = Sealed::start(&format!("{kms}, {{identity: {{}}}}")).await;
    sealed.create("a").await;
    let first = sealed.stored("a").await;
    assert!(first.starts_with(b"k8s:enc:kms:v2:vault:"), "{}", text(&first));
    assert_eq!(sealed.server.get("/healthz/kms-providers").await.text(), "ok");
    sealed.rotated().await;
    plugin.rotate("key-2");
    // A configuration with a difference begins with fresh plugins, which ask for the key at once.
    sealed.reload(&format!("{kms}, {{identity: {{}}}}, {}", aesgcm(KEY1))).await;
    sealed.rotated().await;
    let second = sealed.stored("a").await;
    assert!(text(&second).contains("key-2") && !text(&second).contains("key-1"), "{}", text(&second));
    sealed.readable("a").await;
    let page = sealed.server.get("/metrics").await.text();
    let own = "apiserver_envelope_encryption";
    let method = |name: &str| {
        let labels = format!("grpc_status_code=\"OK\",method_name=\"/v2.KeyManagementService/{name}\"");
        format!("{own}_kms_operations_latency_seconds_count{{{labels},provider_name=\"vault\"}} 2\n")
    };
    for line in [method("Status"), method("Encrypt")] {
        assert!(page.contains(&line), "{line} in {page}");
    }
    // Both keys were used, and named by the plugin's status.
    for (name, labels, count) in [
        ("key_id_hash_total", "transformation_type=\"to_storage\"", 2),
        ("key_id_hash_status_last_timestamp_seconds", "provider_name=\"vault\"", 2),
        ("dek_source_cache_size", "provider_name=\"vault\"", 1),
    ] {
        let name = format!("{own}_{name}{{");
        let lines: Vec<&str> = page.lines().filter(|l| l.starts_with(&name) && l.contains(labels)).collect();
        assert_eq!(lines.len(), count, "{name} {labels} in {page}");
    }
    let time = "apiserver_storage_transformation_duration_seconds_count{transformation_type=\"to_storage\",\
                transformer_prefix=\"k8s:enc:kms:v2:vault:\"}";
    assert!(page.contains(time), "{page}");
}

#[tokio::test]
async fn a_restart_reads_what_a_plugin_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kms.sock");
    let _plugin = crate::encryption::Plugin::start(&socket);
    let sealed = Sealed::start(&format!(
        "{{kms: {{apiVersion: v2, name: vault, endpoint: 'unix://{}'}}}}, {{identity: {{}}}}",
        socket.display()
    ))
    .await;
    sealed.create("a").await;
    let (config, store): (_, Arc<dyn Store>) =
        (sealed.server.api.config().clone(), sealed.server.api.caches().store().clone());
    sealed.server.api.stop();
    let api = Api::start(config, store).await.unwrap();
    let entry = api.caches().get("secrets").unwrap().get("/registry/secrets/default/a").unwrap();
    assert_eq!(entry.decode()["data"]["password"].str(), "aHVudGVyMg==");
}
