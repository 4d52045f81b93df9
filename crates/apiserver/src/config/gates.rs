//! The feature gates that can be either way here; of all others only the default is at work.

/// Large answers are compressed for those who take that.
pub(crate) const RESPONSE_COMPRESSION: &str = "APIResponseCompression";
/// A certificate may name its owner's uid.
pub(crate) const CERTIFICATE_UID: &str = "AllowParsingUserUIDFromCertAuth";
/// Whoever opens a WebSocket to a container must be allowed to create.
pub(crate) const WEBSOCKET_CREATE: &str = "AuthorizePodWebsocketUpgradeCreatePermission";
/// OpenAPI documents list closed sets of values.
pub(crate) const OPENAPI_ENUMS: &str = "OpenAPIEnums";
/// Nodes get tokens only for audiences of their pods.
pub(crate) const NODE_AUDIENCES: &str = "ServiceAccountNodeAudienceRestriction";
/// Pods get the labels that say where their node is.
pub(crate) const TOPOLOGY_LABELS: &str = "PodTopologyLabelsAdmission";
/// The uid in a token request must be the account's.
pub(crate) const TOKEN_REQUEST_UID: &str = "TokenRequestServiceAccountUIDValidation";
/// Watches may begin with what is there.
pub(crate) const WATCH_LIST: &str = "WatchList";

/// All of them.
pub const SWITCHABLE: &[&str] = &[
    RESPONSE_COMPRESSION,
    CERTIFICATE_UID,
    WEBSOCKET_CREATE,
    OPENAPI_ENUMS,
    NODE_AUDIENCES,
    TOPOLOGY_LABELS,
    TOKEN_REQUEST_UID,
    WATCH_LIST,
];

#[cfg(test)]
mod tests {
    use super::SWITCHABLE;

    #[test]
    fn they_are_gates_of_upstream_s() {
        for name in SWITCHABLE {
            assert!(kaji_api::feature::find(name).is_some_and(|gate| !gate.locked), "{name}");
        }
    }
}
