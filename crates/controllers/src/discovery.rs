//! What the server serves, for controllers that deal with every resource.

use kaji_client::Client;
use kube::core::ApiResource;
use kube::discovery::{Discovery, Scope};

/// One resource, at the version to use it by.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    verbs: Vec<String>,
}

impl Found {
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

/// All resources, each once, at its most stable version. Two requests where the server aggregates discovery.
pub(crate) async fn resources(client: &Client) -> Result<Vec<Found>, kube::Error> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(found) => found,
        Err(_) => Discovery::new(client.clone()).run().await?,
    };
    let all = discovery.groups().flat_map(|group| group.resources_by_stability());
    let found = all.map(|(resource, can)| Found {
        resource,
        namespaced: can.scope == Scope::Namespaced,
        verbs: can.operations,
    });
    Ok(found.collect())
}
