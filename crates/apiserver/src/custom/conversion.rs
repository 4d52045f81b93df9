//! Conversion of objects between versions (apiextensions-apiserver `pkg/apiserver/conversion`): the version alone
//! changes, or a webhook is asked for many objects at once.
//!
//! Here is what is said and what may be answered; who calls is the caller's business. A webhook may change anything
//! but what an object is: of its metadata, labels and annotations.

use crate::registry::metadata::{validate_annotations, validate_labels};
use kaji_api::field::{Errors, Path, quoted};
use kaji_api::resource::GroupVersionKind;
use kaji_api::{Value, value};

/// How objects come from one version to another.
#[derive(Clone, Debug, PartialEq)]
pub enum Conversion {
    /// By naming the other version.
    None,
    /// By asking.
    Webhook {
        /// `clientConfig`: where.
        config: Value,
        /// The version of reviews to speak; none where the webhook speaks none that we do.
        review: Option<&'static str>,
    },
}

/// Why objects could not be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConversionError(String);

/// Objects to convert, together.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// What was asked for: the kind of one object or of a list, in the version that the objects have.
    pub kind: &'a GroupVersionKind,
    /// Answers about lists name the index.
    pub is_list: bool,
    /// The objects, none of which has the wanted version yet.
    pub objects: &'a [Value],
    /// The version wanted: `example.org/v2`.
    pub wanted: &'a str,
    /// Ties the answer to the question.
    pub uid: &'a str,
}

impl Conversion {
    /// The `conversion` of a definition.
    pub fn of(conversion: &Value) -> Self {
        if conversion["strategy"].str() != "Webhook" {
            return Conversion::None;
        }
        let spoken = conversion["webhook"]["conversionReviewVersions"].items();
        let review = spoken.iter().find_map(|v| match v.str() {
            "v1" => Some("v1"),
            "v1beta1" => Some("v1beta1"),
            _ => None,
        });
        Conversion::Webhook { config: conversion["webhook"]["clientConfig"].clone(), review }
    }
}

impl Batch<'_> {
    /// The review that asks for the conversion.
    pub fn request(&self, review: Option<&str>) -> Result<Value, ConversionError> {
        let review = review.ok_or_else(|| ConversionError("no supported conversion review versions".to_owned()))?;
        let objects = Value::Array(self.objects.to_vec());
        Ok(value!({
            "kind": "ConversionReview",
            "apiVersion": (format!("apiextensions.k8s.io/{review}")),
            "request": {"uid": (self.uid), "desiredAPIVersion": (self.wanted), "objects": (objects)}
        }))
    }

    /// What is said when the webhook cannot be asked.
    pub fn failed(&self, why: &dyn std::fmt::Display) -> ConversionError {
        ConversionError(format!("conversion webhook for {} failed: {why}", self.kind))
    }

    /// The objects of an answer, in order, each with the metadata of its original.
    pub fn converted(&self, review: &str, answer: &Value) -> Result<Vec<Value>, ConversionError> {
        let objects = accepted(review, self.uid, answer).map_err(|why| self.failed(&why))?;
        if objects.len() != self.objects.len() {
            return Err(ConversionError(format!(
                "conversion webhook for {} returned {} objects, expected {}",
                self.kind,
                objects.len(),
                self.objects.len()
            )));
        }
        let pairs = self.objects.iter().zip(objects).enumerate();
        pairs.map(|(i, (original, converted))| self.one(i, original, converted.clone())).collect()
    }

    fn one(&self, i: usize, original: &Value, mut converted: Value) -> Result<Value, ConversionError> {
        let at = if self.is_list { format!(" converted object at index {i}") } else { " object".to_owned() };
        let invalid = |at: &str, why: String| {
            ConversionError(format!("conversion webhook for {} returned invalid{at}: {why}", self.kind))
        };
        // The first two checks name an index even where there is one object alone.
        let placed = if self.is_list { at.as_str() } else { " object at index 0" };
        let (is, must) = (converted.api_version(), self.wanted);
        if is != must {
            return Err(invalid(placed, format!("invalid groupVersion (expected {must}, received {is})")));
        }
        let (is, must) = (converted.kind(), original.kind());
        if is != must {
            return Err(invalid(placed, format!("invalid kind (expected {must}, received {is})")));
        }
        same_object(original, &converted).map_err(|why| invalid(&at, why))?;
        let metadata = if self.is_list { format!(" metadata in object at index {i}") } else { " metadata".to_owned() };
        restore_metadata(original, &mut converted).map_err(|why| invalid(&metadata, why))?;
        Ok(converted)
    }
}

/// The objects of a review that says that all went well.
fn accepted<'a>(review: &str, uid: &str, answer: &'a Value) -> Result<&'a [Value], String> {
    let version = format!("apiextensions.k8s.io/{review}");
    let strict = review == "v1";
    if strict && (answer.api_version() != version || answer.kind() != "ConversionReview") {
        let slash = if answer.api_version().contains('/') { "" } else { "/" };
        let is = format!("{slash}{}, Kind={}", answer.api_version(), answer.kind());
        return Err(format!("expected webhook response of {version}, Kind=ConversionReview, got {is}"));
    }
    let response = &answer["response"];
    if response.is_null() {
        return Err("no response provided".to_owned());
    }
    if strict && response["uid"].str() != uid {
        return Err(format!("expected response.uid={}, got {}", quoted(uid), quoted(response["uid"].str())));
    }
    let status = response["result"]["status"].str();
    if status != "Success" {
        return Err(match response["result"]["message"].str() {
            "" => format!("response.result.status was '{status}', not 'Success'"),
            message => message.to_owned(),
        });
    }
    Ok(response["convertedObjects"].items())
}

fn same_object(original: &Value, converted: &Value) -> Result<(), String> {
    let facts = [
        ("kind", original.kind(), converted.kind()),
        ("name", original.name(), converted.name()),
        ("namespace", original.namespace(), converted.namespace()),
        ("UID", original.uid(), converted.uid()),
    ];
    match facts.into_iter().find(|(_, was, is)| was != is) {
        Some((what, was, is)) => Err(format!("must have the same {what}: {was} != {is}")),
        None => Ok(()),
    }
}

/// Gives an object the metadata of its original, but for labels and annotations.
fn restore_metadata(original: &Value, converted: &mut Value) -> Result<(), String> {
    let given = match converted.get("metadata") {
        None => return Err("missing metadata in converted object".to_owned()),
        Some(given @ Value::Object(_)) => given.clone(),
        Some(other) => return Err(format!("invalid metadata of type {} in converted object", go_type(other))),
    };
    let mut metadata = original["metadata"].clone();
    for field in ["labels", "annotations"] {
        let was = metadata.remove(field).unwrap_or_default();
        match &given[field] {
            Value::Null => {}
            map @ Value::Object(_) => {
                texts(field, map)?;
                if *map != was {
                    valid(field, map)?;
                }
                metadata.set(field, map.clone());
            }
            other => return Err(format!("invalid metadata.{field} of type {} in converted object", go_type(other))),
        }
    }
    converted.set("metadata", metadata);
    Ok(())
}

fn texts(field: &str, map: &Value) -> Result<(), String> {
    match map.entries().find(|(_, v)| v.as_str().is_none()) {
        Some((key, value)) => {
            Err(format!("metadata.{field}[{key}] must be a string, but is {} in converted object", go_type(value)))
        }
        None => Ok(()),
    }
}

fn valid(field: &str, map: &Value) -> Result<(), String> {
    let mut errors = Errors::new();
    let path = Path::new("metadata");
    match field {
        "labels" => validate_labels(map, &path.child("labels"), &mut errors),
        _ => validate_annotations(map, &path.child("annotation"), &mut errors),
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.to_string()) }
}

/// As Go's `%T` names decoded JSON.
fn go_type(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Int(_) => "int64".to_owned(),
        Value::Float(_) => "float64".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "[]interface {}".to_owned(),
        Value::Object(_) | Value::Raw(_) => "map[string]interface {}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str, name: &str) -> Value {
        value!({"apiVersion": version, "kind": "Thing",
            "metadata": {"name": name, "uid": "u", "generation": 3, "labels": {"a": "b"}}, "spec": {}})
    }

    fn answer(objects: Value) -> Value {
        value!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "response": {"uid": "q", "result": {"status": "Success"}, "convertedObjects": objects}})
    }

    fn outcome(is_list: bool, answer: &Value) -> Result<Vec<Value>, String> {
        let kind = GroupVersionKind { group: "g".into(), version: "v1".into(), kind: "Thing".into() };
        let objects = [object("g/v1", "x")];
        let batch = Batch { kind: &kind, is_list, objects: &objects, wanted: "g/v2", uid: "q" };
        batch.converted("v1", answer).map_err(|e| e.to_string())
    }

    #[test]
    fn answers_keep_what_objects_are() {
        let mut new = object("g/v2", "x");
        new.set_meta("labels", value!({"c": "d"}));
        new.set_meta("generation", 9);
        new.set("spec", value!({"new": true}));
        let converted = outcome(false, &answer(value!([new]))).expect("a good answer");
        let metadata = value!({"name": "x", "uid": "u", "generation": 3, "labels": {"c": "d"}});
        assert_eq!(converted[0]["metadata"], metadata);
        assert_eq!(converted[0]["spec"], value!({"new": true}));
    }

    #[test]
    fn bad_answers_are_told_as_upstream_does() {
        let mut bad_label = object("g/v2", "x");
        bad_label.set_meta("labels", value!({"a": 1}));
        let mut failure = answer(value!([]));
        failure.entry_at(&["response", "result"]).set("status", "Failure");
        let mut told = failure.clone();
        told.entry_at(&["response", "result"]).set("message", "no way");
        let head = "conversion webhook for g/v1, Kind=Thing";
        let cases = [
            (false, answer(value!([])), "returned 0 objects, expected 1"),
            (false, failure, "failed: response.result.status was 'Failure', not 'Success'"),
            (false, told, "failed: no way"),
            (
                false,
                value!({}),
                "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got /, Kind=",
            ),
            (
                false,
                answer(value!([(object("g/v1", "x"))])),
                "returned invalid object at index 0: invalid groupVersion (expected g/v2, received g/v1)",
            ),
            (
                true,
                answer(value!([(object("g/v2", "y"))])),
                "returned invalid converted object at index 0: must have the same name: x != y",
            ),
            (
                false,
                answer(value!([(object("g/v2", "y"))])),
                "returned invalid object: must have the same name: x != y",
            ),
            (
                true,
                answer(value!([bad_label])),
                "returned invalid metadata in object at index 0: metadata.labels[a] must be a string, but is int64 in converted object",
            ),
        ];
        for (is_list, answer, expected) in cases {
            assert_eq!(outcome(is_list, &answer).unwrap_err(), format!("{head} {expected}"));
        }
    }

    #[test]
    fn reviews_are_of_a_version_that_both_speak() {
        let conversion = value!({"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://x"},
            "conversionReviewVersions": ["v2", "v1beta1", "v1"]}});
        let Conversion::Webhook { review, .. } = Conversion::of(&conversion) else { panic!("a webhook") };
        assert_eq!(review, Some("v1beta1"));
        assert_eq!(Conversion::of(&Value::Null), Conversion::None);
    }
}
