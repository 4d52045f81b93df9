//! See [`crate::properties`].

use super::negotiate::{self, Media, Offer};
use super::{deadline, info};
use crate::registry::options::{ListOptions, Query, WriteOptions, decode};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};
use kaji_api::selector::{FieldSelector, LabelSelector};

/// What a request asks for, in lines: method, path, query, `Accept`.
pub fn requests(data: &[u8]) {
    let mut lines = data.split(|c| *c == b'\n');
    let mut line = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (method, path, query, accept) = (line(), line(), line(), line());
    let Ok(method) = method.parse::<Method>() else { return };
    if let Ok(info) = info::parse(&method, &path, &query) {
        let _ = (info::is_long_running(&info), deadline::of(&info, std::time::Duration::from_secs(60)));
    }
    let query = Query::parse(&query);
    for watch in [false, true] {
        if let Ok(options) = ListOptions::parse(&query, watch) {
            let _ = LabelSelector::parse(&options.label_selector);
            let _ = FieldSelector::parse(&options.field_selector);
            crate::registry::properties::revisions(&options.continue_, &options.resource_version);
        }
    }
    let _ = (WriteOptions::parse(&query, "CreateOptions"), WriteOptions::parse_apply(&query));
    crate::subresource::stream::properties::options(&query);
    let _ = (decode(&path), Media::of_content_type(Some(&accept)));
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&accept) {
        headers.insert(ACCEPT, value);
    }
    for offer in [Offer::Objects, Offer::Stream, Offer::Custom, Offer::CustomStream, Offer::Plain] {
        let _ = negotiate::format(&headers, &query, offer);
    }
}
