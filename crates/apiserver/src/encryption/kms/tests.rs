//! A plugin on a Unix socket that seals by XOR with its key id, and what is made of it.

use super::wire::proto::key_management_service_server::{KeyManagementService, KeyManagementServiceServer};
use super::wire::proto::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use super::*;
use crate::encryption::cipher::tests::hex;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use std::path::Path;
use tonic::{Request, Response, Status};

/// A running plugin.
#[derive(Clone)]
pub(crate) struct Plugin(Arc<Mutex<State>>);

struct State {
    key_id: String,
    healthz: String,
    decrypted: usize,
}

impl Plugin {
    /// Listens on a socket.
    pub(crate) fn start(socket: &Path) -> Self {
        let plugin =
            Plugin(Arc::new(Mutex::new(State { key_id: "key-1".to_owned(), healthz: "ok".to_owned(), decrypted: 0 })));
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let service = TowerToHyperService::new(KeyManagementServiceServer::new(plugin.clone()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    server.serve_connection(TokioIo::new(stream), service).await.ok()
                });
            }
        });
        plugin
    }

    /// Writes with another key from now on.
    pub(crate) fn rotate(&self, key_id: &str) {
        key_id.clone_into(&mut self.0.lock().key_id);
    }

    fn say(&self, healthz: &str) {
        healthz.clone_into(&mut self.0.lock().healthz);
    }
}

fn xor(bytes: &[u8], key_id: &str) -> Vec<u8> {
    bytes.iter().zip(key_id.bytes().cycle()).map(|(a, b)| a ^ b).collect()
}

#[tonic::async_trait]
impl KeyManagementService for Plugin {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let state = self.0.lock();
        let (healthz, key_id) = (state.healthz.clone(), state.key_id.clone());
        Ok(Response::new(StatusResponse { version: "v2".to_owned(), healthz, key_id }))
    }

    async fn decrypt(&self, request: Request<DecryptRequest>) -> Result<Response<DecryptResponse>, Status> {
        let request = request.into_inner();
        self.0.lock().decrypted += 1;
        if request.key_id == "unknown" {
            return Err(Status::invalid_argument("no such key"));
        }
        Ok(Response::new(DecryptResponse { plaintext: xor(&request.ciphertext, &request.key_id) }))
    }

    async fn encrypt(&self, request: Request<EncryptRequest>) -> Result<Response<EncryptResponse>, Status> {
        let key_id = self.0.lock().key_id.clone();
        let ciphertext = xor(&request.into_inner().plaintext, &key_id);
        let annotations = [("version.example.com".to_owned(), b"1".to_vec())].into();
        Ok(Response::new(EncryptResponse { ciphertext, key_id, annotations }))
    }
}

fn kms(socket: &Path) -> Kms {
    let (changed, _) = watch::channel(0);
    Kms::new("vault", &format!("unix://{}", socket.display()), Duration::from_secs(3), &changed, &Arc::default())
}

const KEY: &str = "/registry/secrets/default/web";

#[tokio::test]
async fn what_one_server_seals_another_opens() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kms.sock");
    let plugin = Plugin::start(&socket);
    let (writer, reader) = (kms(&socket), kms(&socket));
    let mut sealed = Vec::new();
    assert!(writer.seal(KEY, b"plain", &mut sealed).is_err());
    writer.check().await.unwrap();
    writer.seal(KEY, b"plain", &mut sealed).unwrap();
    assert_eq!(writer.open(KEY, &sealed).unwrap(), (b"plain".to_vec(), "key-1".to_owned()));
    assert!(reader.open(KEY, &sealed).is_err(), "it has not asked for the seed");
    reader.prepare(&sealed).await.unwrap();
    reader.prepare(&sealed).await.unwrap();
    assert_eq!(plugin.0.lock().decrypted, 1);
    assert_eq!(reader.open(KEY, &sealed).unwrap().0, b"plain");
    assert!(reader.open("/registry/secrets/default/other", &sealed).is_err());
}

#[tokio::test]
async fn an_ill_plugin_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kms.sock");
    let absent = kms(&socket).check().await.unwrap_err();
    assert!(
        absent.starts_with("failed to perform status section of the healthz check for KMS Provider vault"),
        "{absent}"
    );
    let plugin = Plugin::start(&socket);
    plugin.say("broken");
    let why = kms(&socket).check().await.unwrap_err();
    assert_eq!(why, "kmsv2 Provider vault is not healthy, error: got unexpected healthz status: broken");
    plugin.say("ok");
    plugin.rotate("");
    let why = kms(&socket).check().await.unwrap_err();
    assert_eq!(why, "kmsv2 Provider vault is not healthy, error: got invalid KMSv2 KeyID hash \"\": keyID is empty");
}

#[tokio::test]
async fn the_stored_form_is_upstreams() {
    // Written out by hand: field 1 the data, 2 the key id, 3 the seed as the plugin sealed it, 4 an annotation, 5 the kind.
    let sealed = hex(
        "0a5632333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f50516465666768696a6b6c6d6e6f0da568c9978b0b0723\
         e5d2026c50f91ce489644761fc0d4aac406f3d1d8e10ae7a6e94de139e247be3fe12056b65792d311a0b7365616c65642d736565642212\
         0a0d612e6578616d706c652e636f6d1201782801",
    );
    let (source, _) = parse(&sealed).unwrap();
    assert_eq!((source.key_id.as_str(), source.sealed.as_slice(), source.kind), ("key-1", &b"sealed-seed"[..], SEED));
    let kms = kms(Path::new("/nonexistent"));
    let seed: Vec<u8> = (0..32).collect();
    kms.keep(source, Arc::new(Dek::new(SEED, &seed).unwrap()));
    assert_eq!(kms.open(KEY, &sealed).unwrap().0, b"the plain form of a secret");
}

#[test]
fn bad_stored_forms_are_told() {
    let with = |change: &dyn Fn(&mut EncryptedObject)| {
        let mut object = EncryptedObject {
            encrypted_data: vec![0],
            key_id: "k".to_owned(),
            encrypted_dek_source: vec![1],
            annotations: BTreeMap::new(),
            encrypted_dek_source_type: SEED,
        };
        change(&mut object);
        parse(&object.encode_to_vec()).err().unwrap_or_default()
    };
    assert_eq!(with(&|_| {}), "");
    assert_eq!(with(&|o| o.encrypted_data.clear()), "encrypted data is empty");
    assert_eq!(with(&|o| o.encrypted_dek_source_type = 7), "unknown encryptedDEKSourceType: 7");
    assert_eq!(with(&|o| o.key_id.clear()), "failed to validate key id: keyID is empty");
    assert_eq!(
        with(&|o| o.encrypted_dek_source = vec![0; 1025]),
        "failed to validate encrypted DEK source: encrypted DEK source is 1025 bytes, which exceeds the max size of 1024"
    );
}
