//! PATCH with `application/apply-patch+yaml`: server-side apply of a configuration, to an object that may not exist
//! yet.

use super::input;
use super::resource::{change, sub_answer};
use super::route::Asked;
use crate::context::{Target, Warnings};
use crate::registry::managed::scale;
use crate::registry::options::{FieldValidation, WriteOptions};
use crate::registry::{self, Ownership, Scope, convert};
use crate::server::body::{RequestBody, Response};
use crate::subresource;
use kaji_api::{Status, Value, codec};

/// A configuration as it was sent.
struct Config {
    object: Value,
    /// What strict decoding says against it.
    finding: Option<String>,
    validation: FieldValidation,
    force: bool,
}

/// Answers.
pub(super) async fn serve(mut asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
    let (options, force) = WriteOptions::parse_apply(&asked.query)?;
    asked.cx.dry_run = options.dry_run;
    let scope = Scope { ownership: Ownership::Applied, ..asked.scope(target)? };
    let presenter = asked.presenter(&scope, super::negotiate::Offer::Objects)?;
    let config = Config::parse(&input::read(body).await?, options.validation, force)?;
    asked.cx.audit.request_body(|| Some(config.object.clone()));
    let warnings = &asked.cx.warnings;
    if let Some(sub) = scope.sub.filter(|sub| sub.kind != scope.row.kind) {
        let transform = |view: &Value| {
            let applied = scale::apply(&scope, view, &config.object, config.force)?;
            config.judge(warnings)?;
            Ok(applied)
        };
        let entry = subresource::replace(&scope, sub.name, &transform).await?;
        return sub_answer(&scope, &presenter, entry).await;
    }
    let transform = |old: &Value| {
        let mut applied = scope.apply(old, &config.object, config.force)?;
        config.judge(warnings)?;
        registry::ensure_namespace(&scope, &mut applied)?;
        registry::check_name_on_url(&scope, &applied)?;
        convert::to_storage(&scope.row, &scope.stored, &mut applied)?;
        Ok(applied)
    };
    let (entry, created) = change(&scope, &transform).await?;
    Ok(presenter.object(if created { 201 } else { 200 }, &*scope.presented_one(entry).await?))
}

impl Config {
    fn parse(bytes: &[u8], validation: FieldValidation, force: bool) -> Result<Self, Status> {
        let refuse = |why: String| Status::bad_request(format!("error decoding YAML: {why}"));
        // Most send JSON, which is YAML but much quicker to read.
        let json = bytes.trim_ascii_start().starts_with(b"{").then(|| codec::parse_json(bytes).ok()).flatten();
        let object = match json {
            Some(object) => object,
            None => codec::parse_yaml(bytes).map_err(|why| refuse(why.to_string()))?,
        };
        let object = match object {
            Value::Null => Value::object(),
            Value::Object(_) => object,
            other => {
                let found = match other {
                    Value::String(_) => "string",
                    Value::Bool(_) => "bool",
                    Value::Array(_) => "array",
                    _ => "number",
                };
                return Err(refuse(format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of \
                     type map[string]interface {{}}"
                )));
            }
        };
        let finding = match validation {
            FieldValidation::Ignore => None,
            _ => codec::check_yaml_keys(bytes).err().map(|why| why.to_string()),
        };
        Ok(Config { object, finding, validation, force })
    }

    /// Warns of what strict decoding found, or refuses it; only once the configuration has been applied.
    fn judge(&self, warnings: &Warnings) -> Result<(), Status> {
        match &self.finding {
            None => {}
            Some(why) if self.validation == FieldValidation::Strict => {
                return Err(Status::bad_request(format!("error strict decoding YAML: {why}")));
            }
            Some(why) => warnings.add(why.as_str()),
        }
        Ok(())
    }
}
