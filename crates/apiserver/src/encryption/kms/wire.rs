//! Calls to a plugin over its Unix socket.

use crate::encryption::envelope::Envelope;
use crate::remote::unix;
use hyper_util::rt::TokioIo;
use kaji_api::rpc;
use proto::key_management_service_client::KeyManagementServiceClient;
use proto::{DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

/// Generated from `proto/kms.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub(super) mod proto {
    tonic::include_proto!("v2");
}

#[derive(Clone)]
pub(super) struct Client {
    plugin: KeyManagementServiceClient<Channel>,
    timeout: Duration,
    name: String,
    envelope: Arc<Envelope>,
}

/// A call failed.
#[derive(Debug)]
pub(super) struct CallError {
    code: Code,
    message: String,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rpc::failure(self.code as i32, &self.message))
    }
}

impl CallError {
    /// Whether the same call may succeed later.
    pub(super) fn passes(&self) -> bool {
        matches!(
            self.code,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::ResourceExhausted
        )
    }
}

impl Client {
    /// Connects when first used, and again after a loss.
    pub(super) fn new(name: &str, endpoint: &str, timeout: Duration, envelope: Arc<Envelope>) -> Self {
        let path = endpoint.strip_prefix("unix:").unwrap_or(endpoint);
        let path = path.strip_prefix("//").unwrap_or(path).to_owned();
        let connector = tower::service_fn(move |_: http::Uri| connect(path.clone()));
        let channel = Endpoint::from_static("http://kms.local").connect_timeout(timeout);
        let plugin = KeyManagementServiceClient::new(channel.connect_with_connector_lazy(connector));
        Client { plugin, timeout, name: name.to_owned(), envelope }
    }

    pub(super) async fn status(&self) -> Result<StatusResponse, CallError> {
        let mut plugin = self.plugin.clone();
        self.within("Status", plugin.status(StatusRequest {})).await
    }

    pub(super) async fn encrypt(&self, request: EncryptRequest) -> Result<EncryptResponse, CallError> {
        let mut plugin = self.plugin.clone();
        self.within("Encrypt", plugin.encrypt(Request::new(request))).await
    }

    pub(super) async fn decrypt(&self, request: DecryptRequest) -> Result<DecryptResponse, CallError> {
        let mut plugin = self.plugin.clone();
        self.within("Decrypt", plugin.decrypt(Request::new(request))).await
    }

    async fn within<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CallError> {
        let begun = Instant::now();
        let answer = match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(CallError { code: status.code(), message: status.message().to_owned() }),
            Err(_) => Err(CallError { code: Code::DeadlineExceeded, message: "context deadline exceeded".to_owned() }),
        };
        let code = answer.as_ref().map_or_else(|e| e.code, |_| Code::Ok);
        self.envelope.called(&self.name, method, code, begun.elapsed());
        answer
    }
}

/// `/@name` and `@name` are abstract sockets.
async fn connect(path: String) -> std::io::Result<TokioIo<UnixStream>> {
    match path.strip_prefix("/@").or_else(|| path.strip_prefix('@')) {
        None => unix::connect(&path).await,
        Some(name) => unix::connect_abstract(name).await,
    }
}
