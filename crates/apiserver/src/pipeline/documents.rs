//! Discovery and OpenAPI: documents derived from the tables.

use super::route::Asked;
use crate::server::body::Response;
use kaji_api::Status;

/// The document at a path; none: no such path.
pub(super) fn serve(_asked: &Asked<'_>, _path: &str) -> Result<Option<Response>, Status> {
    Ok(None)
}
