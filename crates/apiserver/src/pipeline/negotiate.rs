//! Which form an answer takes: `Accept`, `pretty`, and what clients are (apiserver `endpoints/handlers/negotiation`).

use crate::registry::options::Query;
use http::HeaderMap;
use http::header::{ACCEPT, USER_AGENT};
use kaji_api::Status;

/// The encodings the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Media {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

const ALL: [Media; 3] = [Media::Json, Media::Yaml, Media::Protobuf];
/// As error texts list them.
pub(crate) const NAMES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// The same for custom resources.
pub(crate) const CUSTOM_NAMES: &str = "application/json, application/yaml";
const CUSTOM_STREAM_NAMES: &str = "application/json;stream=watch";
const STREAM_NAMES: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

impl Media {
    /// The media type's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Media::Json => "application/json",
            Media::Yaml => "application/yaml",
            Media::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// The medium of a `Content-Type`; JSON without one.
    pub(crate) fn of_content_type(value: Option<&str>) -> Result<Self, Status> {
        let Some(value) = value.filter(|v| !v.is_empty()) else { return Ok(Media::Json) };
        let name = value.split(';').next().unwrap_or_default().trim();
        ALL.into_iter().find(|m| m.name().eq_ignore_ascii_case(name)).ok_or_else(|| unsupported(NAMES))
    }
}

/// 415, with what would be accepted.
pub(crate) fn unsupported(names: &str) -> Status {
    Status::unsupported_media_type(format!(
        "the body of the request was in an unknown format - accepted media types include: {names}"
    ))
}

/// What an object is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// Itself.
    Whole,
    /// `PartialObjectMetadata` or its list, in a version of `meta.k8s.io`.
    Partial(&'static str),
    /// `Table`, in a version of `meta.k8s.io`.
    Table(&'static str),
}

/// The form asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Encoding.
    pub(crate) media: Media,
    /// Shape.
    pub(crate) shape: Shape,
    /// Indented JSON.
    pub(crate) pretty: bool,
}

impl Format {
    /// The plainest one.
    pub(crate) const JSON: Format = Format { media: Media::Json, shape: Shape::Whole, pretty: false };
}

/// What a request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Objects: every medium and shape.
    Objects,
    /// Watches: no YAML.
    Stream,
    /// Custom resources: protobuf for their metadata alone.
    Custom,
    /// Watches of custom resources.
    CustomStream,
    /// Statuses and documents: every medium, no other shape.
    Plain,
}

impl Offer {
    /// The same for objects of a custom resource.
    pub(crate) fn of_custom(self) -> Self {
        match self {
            Offer::Objects => Offer::Custom,
            Offer::Stream => Offer::CustomStream,
            other => other,
        }
    }

    fn is_stream(self) -> bool {
        matches!(self, Offer::Stream | Offer::CustomStream)
    }

    fn is_custom(self) -> bool {
        matches!(self, Offer::Custom | Offer::CustomStream)
    }
}

/// Settles the form of the answer, or 406.
pub(crate) fn format(headers: &HeaderMap, query: &Query, offer: Offer) -> Result<Format, Status> {
    let mut values = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok());
    let (first, others) = (values.next().unwrap_or_default(), values.next());
    let pretty = !offer.is_stream() && wants_pretty(headers, query);
    let settled = match others {
        None if first.is_empty() => return Ok(Format { pretty, ..Format::JSON }),
        // Most say no more than names: all are as good.
        None if !first.contains(';') => {
            let mut names = first.split(',').map(str::trim).filter(|name| !name.is_empty());
            names.find_map(|name| Clause { name, parameters: Vec::new(), quality: 1.0 }.accepted(offer))
        }
        others => {
            let all: Vec<&str> = [first].into_iter().chain(others).chain(values).collect();
            clauses(&all.join(",")).into_iter().find_map(|c| c.accepted(offer))
        }
    };
    settled.map(|(media, shape)| Format { media, shape, pretty }).ok_or_else(|| not_acceptable(offer))
}

/// 406, with what would be accepted.
pub(crate) fn not_acceptable(offer: Offer) -> Status {
    let names = match offer {
        Offer::Custom => CUSTOM_NAMES,
        Offer::CustomStream => CUSTOM_STREAM_NAMES,
        Offer::Stream => STREAM_NAMES,
        Offer::Objects | Offer::Plain => NAMES,
    };
    Status::not_acceptable(format!("only the following media types are accepted: {names}"))
}

fn wants_pretty(headers: &HeaderMap, query: &Query) -> bool {
    match query.get("pretty") {
        "" => {}
        text => return matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True"),
    }
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|people| agent.starts_with(people))
}

struct Clause<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

/// The clauses of an `Accept` header, best first, in the order sent among equals.
fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut all: Vec<Clause<'_>> = accept.split(',').filter_map(clause).collect();
    all.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    all
}

fn clause(text: &str) -> Option<Clause<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|n| !n.is_empty())?;
    let mut clause = Clause { name, parameters: Vec::new(), quality: 1.0 };
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key.trim() {
            "q" => clause.quality = value.trim().parse().unwrap_or(1.0),
            key => clause.parameters.push((key, value.trim().trim_matches('"'))),
        }
    }
    Some(clause)
}

impl Clause<'_> {
    fn accepted(&self, offer: Offer) -> Option<(Media, Shape)> {
        ALL.into_iter()
            .filter(|m| !offer.is_stream() || *m != Media::Yaml)
            .filter(|m| matches!(self.name, "*/*" | "application/*") || self.name.eq_ignore_ascii_case(m.name()))
            .find_map(|m| Some((m, self.shape(m, offer)?)))
    }

    fn parameter(&self, key: &str) -> &str {
        self.parameters.iter().find(|(k, _)| *k == key).map_or("", |(_, v)| v)
    }

    fn shape(&self, media: Media, offer: Offer) -> Option<Shape> {
        if !matches!(self.parameter("stream"), "" | "watch") {
            return None;
        }
        let kind = self.parameter("as");
        if kind.is_empty() && self.parameter("g").is_empty() && self.parameter("v").is_empty() {
            return (media != Media::Protobuf || !offer.is_custom()).then_some(Shape::Whole);
        }
        let version = match (self.parameter("g"), self.parameter("v")) {
            ("meta.k8s.io", "v1") => "v1",
            ("meta.k8s.io", "v1beta1") => "v1beta1",
            _ => return None,
        };
        match kind {
            _ if offer == Offer::Plain => None,
            "Table" if media != Media::Protobuf => Some(Shape::Table(version)),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Shape::Partial(version)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &str) -> Result<Format, Status> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        format(&headers, &Query::default(), Offer::Objects)
    }

    #[test]
    fn the_first_acceptable_clause_wins() {
        for (accept, media, shape) in [
            ("application/json", Media::Json, Shape::Whole),
            ("*/*", Media::Json, Shape::Whole),
            ("application/yaml", Media::Yaml, Shape::Whole),
            ("application/yaml;q=0.5,application/json", Media::Json, Shape::Whole),
            ("application/vnd.kubernetes.protobuf,application/json", Media::Protobuf, Shape::Whole),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Media::Json, Shape::Table("v1")),
            ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Media::Json, Shape::Whole),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                Media::Protobuf,
                Shape::Partial("v1"),
            ),
        ] {
            let format = asked(accept).unwrap();
            assert_eq!((format.media, format.shape), (media, shape), "{accept}");
        }
    }

    #[test]
    fn what_is_not_spoken_is_refused() {
        let status = asked("text/html").unwrap_err();
        assert_eq!(status.code, 406);
        assert_eq!(status.message, format!("only the following media types are accepted: {NAMES}"));
    }
}
