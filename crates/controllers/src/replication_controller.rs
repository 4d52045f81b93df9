//! Replication controllers: replica sets of the first API.

use crate::{Context, replica_set};
use k8s_openapi::api::core::v1::ReplicationController;

pub(crate) async fn run(cx: Context) {
    replica_set::run_for::<ReplicationController>(cx).await;
}
