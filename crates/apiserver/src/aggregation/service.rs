//! One registration of a group and version.

use crate::remote::{Peer, Place, Remote};
use crate::server::Api;
use base64::prelude::*;
use kaji_api::Value;

/// A registration, compiled.
pub(crate) struct Service {
    /// `VERSION.GROUP`.
    pub(crate) name: String,
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) group_priority: i64,
    pub(crate) version_priority: i64,
    /// The `Available` condition says so.
    pub(crate) available: bool,
    /// Who answers; none: this server.
    pub(crate) remote: Option<Behind>,
}

/// The server behind a registration.
#[derive(Clone)]
pub(crate) struct Behind {
    /// Its service.
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) port: u16,
    /// Connections to it.
    pub(crate) remote: Remote,
}

impl Service {
    /// From an `APIService`; connections are kept while it stays where it is.
    pub(crate) fn compile(api: &Api, object: &Value, old: Option<&Service>) -> Self {
        let spec = &object["spec"];
        let conditions = object["status"]["conditions"].items();
        let available = conditions.iter().find(|c| c["type"].str() == "Available");
        Service {
            name: object.name().to_owned(),
            group: spec["group"].str().to_owned(),
            version: spec["version"].str().to_owned(),
            group_priority: spec["groupPriorityMinimum"].as_i64().unwrap_or(0),
            version_priority: spec["versionPriority"].as_i64().unwrap_or(0),
            available: available.is_some_and(|c| c["status"].str() == "True"),
            remote: (!spec["service"].is_null()).then(|| behind(api, spec, old.and_then(|o| o.remote.as_ref()))),
        }
    }

    /// The path below which it is answered.
    pub(crate) fn root(&self) -> String {
        match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }
}

fn behind(api: &Api, spec: &Value, old: Option<&Behind>) -> Behind {
    let service = &spec["service"];
    let port = service["port"].as_i64().and_then(|p| u16::try_from(p).ok()).unwrap_or(443);
    let peer = Peer {
        place: Place::service(service, port),
        path: String::new(),
        ca_bundle: BASE64_STANDARD.decode(spec["caBundle"].str()).unwrap_or_default(),
        insecure: spec["insecureSkipTLSVerify"].bool(),
        identify: true,
    };
    let kept = old.filter(|old| *old.remote.peer() == peer).map(|old| old.remote.clone());
    Behind {
        namespace: service["namespace"].str().to_owned(),
        service: service["name"].str().to_owned(),
        port,
        remote: kept.unwrap_or_else(|| Remote::new(api, peer)),
    }
}
