//! Subresources that stream: log, exec, attach, portforward, proxy.
//!
//! They are answered by others: the kubelet of a pod's node, or what a proxy path names. [`options`] reads the
//! query, [`location`] finds whom to ask, [`backend`] reaches them; the rest carries bytes. An upgrade of the
//! connection is taken from the request's extensions (`hyper::upgrade::OnUpgrade`); what begins with it runs in
//! a task of its own until either side ends or the server stops.

mod backend;
mod location;
mod log;
mod options;
#[cfg(any(test, feature = "properties"))]
pub(crate) mod properties;
pub(crate) mod proxy;
pub(crate) mod relay;
mod translate;
mod tunnel;
pub(crate) mod websocket;

#[cfg(test)]
mod tests;

use crate::admission::Operation;
use crate::audit::Hold;
use crate::authz::{Decision, Question};
use crate::config::gates;
use crate::context::{RequestContext, Target};
use crate::registry::options::Query;
use crate::registry::{Phase, Scope};
use crate::row::Row;
use crate::server::Api;
use crate::server::body::{Body, RequestBody, Response};
use crate::spdy;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use kaji_api::{Status, Value};
use location::Location;
use options::ExecOptions;
use std::future::Future;

/// A request to a streaming subresource.
#[derive(Clone, Copy)]
pub(crate) struct Connect<'a> {
    /// The server.
    pub(crate) api: &'a Api,
    /// Who and how.
    pub(crate) cx: &'a RequestContext,
    /// Resource and subresource.
    pub(crate) target: &'a Target,
    /// Namespace, or empty.
    pub(crate) namespace: &'a str,
    /// Name of the object.
    pub(crate) name: &'a str,
    /// Path segments behind the subresource.
    pub(crate) rest: &'a [String],
    /// The query.
    pub(crate) query: &'a Query,
}

/// Whether a subresource is answered here; others of these are unknown paths.
pub(crate) fn handles(subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy")
}

/// Answers.
pub(crate) async fn serve(connect: Connect<'_>, parts: Parts, body: RequestBody) -> Result<Response, Status> {
    let Some(sub) = connect.target.sub else { return Err(Status::internal("no subresource")) };
    if sub.name == "log" {
        return log::serve(connect, parts).await;
    }
    if connect.query.find("dryRun").is_some() {
        return Err(Status::bad_request("dryRun is not supported"));
    }
    match sub.name {
        "proxy" => {
            let path = options::proxy_path(&connect);
            connect.admit(options::proxy_value(sub.kind, &path)).await?;
            let location = location::proxied(&connect, &path).await?;
            proxy::serve(&connect, location, parts, body).await
        }
        "portforward" => {
            let ports = options::ports(connect.query)?;
            connect.admit(options::ports_value(&ports)).await?;
            connect.ensure_may_create(sub.name).await?;
            let location = location::port_forward(&connect, &ports).await?;
            match websocket::asks_for_tunnel(&parts.headers) {
                true => tunnel::serve(&connect, location, parts).await,
                false => relay::serve(connect.api, &location, parts).await,
            }
        }
        _ => {
            let options = ExecOptions::parse(sub.name, connect.query);
            connect.admit(options.to_value(sub.kind)).await?;
            connect.ensure_may_create(sub.name).await?;
            let location = location::remote_command(&connect, sub.name, &options).await?;
            match websocket::is_asked_for(&parts.headers) {
                true => translate::serve(connect.api, location, &options, parts),
                false => relay::serve(connect.api, &location, parts).await,
            }
        }
    }
}

impl<'a> Connect<'a> {
    fn scope(&self) -> Result<Scope<'a>, Status> {
        let scope = Scope::new(self.api, self.cx, self.target, self.namespace, self.name);
        scope.ok_or_else(|| Status::not_found(&self.target.resource.group_resource(), self.name))
    }

    /// The object of another resource of the core group.
    async fn object(&self, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
        let resource = Row::built_in("", "v1", plural).expect("core resources are built in");
        let target = Target { resource, sub: None };
        let scope = Scope::new(self.api, self.cx, &target, namespace, name).expect("core resources are stored");
        Ok(scope.current().await?.decode())
    }

    /// Asks the admission plugins about the options.
    async fn admit(&self, mut options: Value) -> Result<(), Status> {
        let scope = self.scope()?;
        scope.admit(Phase::Mutate, Operation::Connect, &mut options, &Value::Null).await?;
        scope.admit(Phase::Validate, Operation::Connect, &mut options, &Value::Null).await
    }

    /// Streams into a container take the right to create, however they are asked for: a WebSocket begins with GET.
    async fn ensure_may_create(&self, subresource: &str) -> Result<(), Status> {
        let info = &self.cx.info;
        if info.verb == "create" || !self.api.config().gates.is_on(gates::WEBSOCKET_CREATE) {
            return Ok(());
        }
        let question = Question {
            user: self.cx.user.clone(),
            verb: "create".to_owned(),
            is_resource: true,
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: subresource.to_owned(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            ..Question::default()
        };
        match self.api.authorize(&question).await {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => {
                Err(Status::forbidden(&self.target.resource.group_resource(), self.name, &why))
            }
        }
    }
}

/// The client's side of an upgrade, if the connection can be upgraded.
pub(crate) fn upgrade_of(parts: &mut Parts) -> Result<OnUpgrade, Status> {
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    upgrade.ok_or_else(|| failed("request connection cannot be hijacked"))
}

/// 500 as upstream reports errors that are no API errors.
fn failed(text: impl Into<String>) -> Status {
    Status::new(500, "", text)
}

/// Runs a request's session beside the server until it or the server ends; only then is the request audited as done.
fn spawn(api: &Api, hold: Option<Hold>, session: impl Future<Output = ()> + Send + 'static) {
    let stopped = api.stopped().clone();
    api.sessions().spawn(async move {
        let _hold = hold;
        tokio::select! {
            () = session => {}
            () = stopped.cancelled() => {}
        }
    });
}

/// An answer without a body.
fn empty(code: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::from_u16(code).expect("codes are written out");
    response
}

/// The headers by which a kubelet is asked to speak SPDY.
fn spdy_request(location: &Location, protocols: &[&str]) -> http::Request<()> {
    let mut request = http::Request::post(location.target()).header(http::header::HOST, location.backend.authority());
    request = request.header(http::header::CONNECTION, "Upgrade").header(http::header::UPGRADE, spdy::PROTOCOL);
    for protocol in protocols {
        request = request.header(PROTOCOL_VERSION, *protocol);
    }
    request.body(()).expect("targets are escaped")
}

/// The header in which both sides name the protocol inside SPDY.
const PROTOCOL_VERSION: &str = "x-stream-protocol-version";
