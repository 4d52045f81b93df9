//! One call to a member, told to whoever wants to know of it ([`Calls`](crate::Calls)); at no cost where nobody does.

use super::Client;
use super::members::{Connection, led};
use super::proto::kv_client::KvClient;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

impl Client {
    pub(super) async fn told<T: Message, R: Message, F>(
        &self,
        method: &'static str,
        connection: &Connection,
        message: T,
        call: impl FnOnce(KvClient<Channel>, Request<T>) -> F,
    ) -> Result<R, Status>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let Some(told) = self.calls.get().and_then(|calls| calls.begin(method)) else {
            return call(connection.kv(), led(message)).await.map(Response::into_inner);
        };
        told.sent(message.encoded_len(), self.members.address(connection.member));
        let mut request = led(message);
        for (name, value) in told.headers() {
            if let Ok(value) = value.parse() {
                request.metadata_mut().insert(name, value);
            }
        }
        let answer = call(connection.kv(), request).await.map(Response::into_inner);
        told.answered(
            answer.as_ref().map(Message::encoded_len).map_err(|status| (word(status.code()), status.message())),
        );
        answer
    }
}

/// Go's words for gRPC's codes: tonic's, but for one that is an error.
fn word(code: Code) -> String {
    if code == Code::Cancelled { "Canceled".to_owned() } else { format!("{code:?}") }
}
