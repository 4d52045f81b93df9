//! Discovery documents from the resource table: `/api`, `/apis`, per group and version, and the
//! aggregated form (`apidiscovery.k8s.io/v2`).
