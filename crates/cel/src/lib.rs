//! Kubernetes' dialect of CEL, the Common Expression Language: rules in definitions of custom resources, admission
//! policies, match conditions.
//!
//! An [`Env`] says what an expression may name, [`Env::compile`] checks it and makes a [`Program`], and
//! [`Program::eval`] runs that against an [`Activation`] within a limit of cost. Functions, types, error texts and costs
//! are those of upstream's release 1.36; nothing here does I/O.
//!
//! ```
//! use kaji_api::value;
//! use kaji_cel::{Activation, DeclType, Env, PER_CALL_LIMIT, Schema, Val};
//!
//! // A rule of a custom resource: `self` has the type of a schema.
//! let schema = Schema::from_open_api(&value!({
//!     "type": "object",
//!     "properties": {"replicas": {"type": "integer"}, "names": {"type": "array", "maxItems": 5,
//!         "items": {"type": "string", "maxLength": 10}}}
//! }));
//! let this = DeclType::of_schema(&schema, "self").expect("objects have a type");
//! let program = Env::new().with("self", this).compile("self.names.all(n, n != 'x') && self.replicas < 3")?;
//! assert!(program.estimate().max < 100);
//!
//! let object = value!({"replicas": 2, "names": ["a", "b"]});
//! let activation = Activation::new().with("self", Val::typed(&object, &schema)?);
//! let done = program.eval(&activation, PER_CALL_LIMIT);
//! assert_eq!(done.result?.as_bool(), Some(true));
//!
//! // A match condition: everything is known when it runs only.
//! let program = Env::new().with_dyn("object").compile("object.spec.missing == 1")?;
//! let object = value!({"spec": {}});
//! let done = program.eval(&Activation::new().with("object", Val::of(&object)), PER_CALL_LIMIT);
//! assert_eq!(done.result.unwrap_err().to_string(), "no such key: missing");
//!
//! // Errors read as upstream's do.
//! let error = Env::new().compile("nothing").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "compilation failed: ERROR: <input>:1:1: undeclared reference to 'nothing' (in container '')\n | nothing\n | ^"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Variables that are expressions themselves (`variables.x`) are a [`Fields`] of the caller's; permissions are asked of
//! an [`Authorizer`], see [`Val::authorizer`]; objects that mutations write are read back with [`Val::to_value`].

mod activation;
mod ast;
mod check;
mod cost;
mod decl;
mod env;
mod escape;
mod eval;
mod library;
mod parser;
mod plan;
mod program;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
mod schema;
mod source;
mod stack;
mod token;
mod types;
mod value;

pub use activation::Activation;
pub use cost::CostRange;
pub use decl::DeclType;
pub use env::Env;
pub use escape::{escape, is_reserved, unescape};
pub use library::{AuthorizationRequest, Authorizer, Decision, Opaque};
pub use program::{Evaluation, Program};
pub use schema::{Form, Format, ListKind, Schema};
pub use source::{CompileError, Issue, Issues};
pub use types::Type;
pub use value::{EvalError, Fields, List, Map, Struct, Text, Timestamp, ToValueError, Val};

/// What one evaluation may cost: about a tenth of a second.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What all evaluations for one custom resource or policy binding may cost together: about a second.
pub const RUNTIME_BUDGET: u64 = 10_000_000;
/// What the match conditions of one webhook or policy binding may cost together: about a quarter of a second.
pub const MATCH_CONDITIONS_BUDGET: u64 = 2_500_000;
/// Most bytes that a `messageExpression` may make.
pub const LONGEST_MESSAGE: usize = 5 * 1024;

#[cfg(test)]
mod tests;
