//! The range that services get their addresses from.

use super::{Maker, condition};
use kaji_api::{GroupResource, Status, value};

pub(super) async fn default_range(maker: &Maker<'_>) -> Result<(), Status> {
    let resource = GroupResource::of("networking.k8s.io", "servicecidrs");
    let object = value!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [(maker.api.config().service_range.to_string())]},
    });
    let key = object.key();
    // The spec cannot be changed: a new range is for the operator to add beside it.
    maker.ensure_exists(&resource, object).await?;
    let message = "Kubernetes default Service CIDR is ready".to_owned();
    let status = value!({"conditions": [(condition("Ready", "True", "", message))]});
    maker.ensure_status(&resource, &key, status).await
}
