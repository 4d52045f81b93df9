//! The container runtime interface: generated messages and a client over the runtime's Unix socket.

use hyper_util::rt::TokioIo;
use kaji_api::rpc;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// The messages of CRI v1 that are used here.
#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

#[allow(missing_docs, unreachable_pub, dead_code, clippy::all, rustdoc::all)]
pub(crate) mod containerd_api {
    pub(crate) mod events {
        tonic::include_proto!("containerd.services.events.v1");
    }
    pub(crate) mod content {
        tonic::include_proto!("containerd.services.content.v1");
    }
    pub(crate) mod images {
        tonic::include_proto!("containerd.services.images.v1");
    }
    pub(crate) mod leases {
        tonic::include_proto!("containerd.services.leases.v1");
    }
}

#[allow(missing_docs, unreachable_pub, dead_code, clippy::all, rustdoc::all)]
pub(crate) mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// What the runtime answered instead of a result.
#[derive(Clone, Debug, thiserror::Error)]
#[error("rpc error: code = {code} desc = {message}")]
pub struct RuntimeError {
    /// gRPC's name of the kind of failure.
    pub code: &'static str,
    /// The runtime's words.
    pub message: String,
}

impl RuntimeError {
    /// A failure of our own making, in the runtime's shape.
    pub fn unknown(message: impl Into<String>) -> Self {
        RuntimeError { code: "Unknown", message: message.into() }
    }

    /// The thing asked about is not there.
    pub fn is_not_found(&self) -> bool {
        self.code == "NotFound"
    }

    /// The runtime does not know the call.
    pub fn is_unimplemented(&self) -> bool {
        self.code == "Unimplemented"
    }

    /// The call took too long.
    pub fn is_timeout(&self) -> bool {
        self.code == "DeadlineExceeded"
    }
}

impl From<tonic::Status> for RuntimeError {
    fn from(status: tonic::Status) -> Self {
        RuntimeError { code: rpc::word(status.code() as i32), message: status.message().to_owned() }
    }
}

/// The path of a runtime endpoint: `unix:///run/x.sock` or a bare path.
pub fn socket_path(endpoint: &str) -> PathBuf {
    PathBuf::from(endpoint.strip_prefix("unix://").unwrap_or(endpoint))
}

/// A channel to a Unix socket; it connects when first used and again after a loss.
pub(crate) fn channel(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    Endpoint::from_static("http://runtime.local").connect_timeout(Duration::from_secs(10)).connect_with_connector_lazy(
        tower::service_fn(move |_: http::Uri| {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
        }),
    )
}

/// The largest message a runtime may send: lists of many containers are long.
pub(crate) const MAX_MESSAGE: usize = 16 << 20;

/// The two services of a CRI runtime.
#[derive(Clone)]
pub(crate) struct Cri {
    runtime: v1::runtime_service_client::RuntimeServiceClient<Channel>,
    images: v1::image_service_client::ImageServiceClient<Channel>,
    timeout: Duration,
}

/// A request with a deadline, which goes out as `grpc-timeout` too.
fn within<T>(message: T, timeout: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(timeout);
    request
}

/// Waits for an answer a little longer than the runtime was told to take.
async fn bounded<T>(
    timeout: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, RuntimeError> {
    match tokio::time::timeout(timeout + Duration::from_secs(1), call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(status.into()),
        Err(_) => Err(RuntimeError { code: "DeadlineExceeded", message: "context deadline exceeded".to_owned() }),
    }
}

macro_rules! calls {
    ($($service:ident . $name:ident ( $ask:ident ) -> $answer:ident;)*) => {
        impl Cri {
            $(pub(crate) async fn $name(&self, ask: v1::$ask) -> Result<v1::$answer, RuntimeError> {
                let mut service = self.$service.clone();
                bounded(self.timeout, service.$name(within(ask, self.timeout))).await
            })*
        }
    };
}

calls! {
    runtime.version(VersionRequest) -> VersionResponse;
    runtime.status(StatusRequest) -> StatusResponse;
    runtime.stop_pod_sandbox(StopPodSandboxRequest) -> StopPodSandboxResponse;
    runtime.remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse;
    runtime.pod_sandbox_status(PodSandboxStatusRequest) -> PodSandboxStatusResponse;
    runtime.list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse;
    runtime.create_container(CreateContainerRequest) -> CreateContainerResponse;
    runtime.start_container(StartContainerRequest) -> StartContainerResponse;
    runtime.remove_container(RemoveContainerRequest) -> RemoveContainerResponse;
    runtime.list_containers(ListContainersRequest) -> ListContainersResponse;
    runtime.container_status(ContainerStatusRequest) -> ContainerStatusResponse;
    runtime.update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse;
    runtime.reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse;
    runtime.exec(ExecRequest) -> ExecResponse;
    runtime.attach(AttachRequest) -> AttachResponse;
    runtime.port_forward(PortForwardRequest) -> PortForwardResponse;
    runtime.list_container_stats(ListContainerStatsRequest) -> ListContainerStatsResponse;
    images.list_images(ListImagesRequest) -> ListImagesResponse;
    images.image_status(ImageStatusRequest) -> ImageStatusResponse;
    images.remove_image(RemoveImageRequest) -> RemoveImageResponse;
    images.image_fs_info(ImageFsInfoRequest) -> ImageFsInfoResponse;
}

impl Cri {
    /// A client; `timeout` bounds every call that does not say otherwise.
    pub(crate) fn new(endpoint: &str, timeout: Duration) -> Self {
        let channel = channel(&socket_path(endpoint));
        Cri {
            runtime: v1::runtime_service_client::RuntimeServiceClient::new(channel.clone())
                .max_decoding_message_size(MAX_MESSAGE),
            images: v1::image_service_client::ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
            timeout,
        }
    }

    /// Sandboxes take twice as long as other things: the network is set up meanwhile.
    pub(crate) async fn run_pod_sandbox(
        &self,
        ask: v1::RunPodSandboxRequest,
    ) -> Result<v1::RunPodSandboxResponse, RuntimeError> {
        let timeout = self.timeout * 2;
        bounded(timeout, self.runtime.clone().run_pod_sandbox(within(ask, timeout))).await
    }

    /// Stopping takes as long as the container is given.
    pub(crate) async fn stop_container(
        &self,
        ask: v1::StopContainerRequest,
    ) -> Result<v1::StopContainerResponse, RuntimeError> {
        let timeout = self.timeout + Duration::from_secs(ask.timeout.max(0).unsigned_abs());
        bounded(timeout, self.runtime.clone().stop_container(within(ask, timeout))).await
    }

    /// Runs a command to its end; no timeout means as long as it takes.
    pub(crate) async fn exec_sync(&self, ask: v1::ExecSyncRequest) -> Result<v1::ExecSyncResponse, RuntimeError> {
        if ask.timeout <= 0 {
            return Ok(self.runtime.clone().exec_sync(ask).await?.into_inner());
        }
        let timeout = self.timeout + Duration::from_secs(ask.timeout.unsigned_abs());
        bounded(timeout, self.runtime.clone().exec_sync(within(ask, timeout))).await
    }

    /// Pulls an image, however long it takes.
    pub(crate) async fn pull_image(&self, ask: v1::PullImageRequest) -> Result<v1::PullImageResponse, RuntimeError> {
        Ok(self.images.clone().pull_image(ask).await?.into_inner())
    }

    /// The runtime's own stream of container events, where it has one.
    pub(crate) async fn container_events(&self) -> Result<tonic::Streaming<v1::ContainerEventResponse>, RuntimeError> {
        Ok(self.runtime.clone().get_container_events(v1::GetEventsRequest {}).await?.into_inner())
    }
}
