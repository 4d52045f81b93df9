//! Admission, before and after an object is checked.

use super::{Scope, managed};
use crate::admission::{Attributes, Operation, Rounds};
use crate::context::Target;
use crate::pipeline::timing::{self, timed};
use crate::registry::options::DeleteOptions;
use kaji_api::{Status, Value};
use std::time::Instant;

/// The two phases of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Plugins may change the object.
    Mutate,
    /// Plugins may only refuse.
    Validate,
}

impl Scope<'_> {
    /// Runs one phase of admission.
    pub(crate) async fn admit(
        &self,
        phase: Phase,
        operation: Operation,
        object: &mut Value,
        old: &Value,
    ) -> Result<(), Status> {
        self.admit_with(phase, operation, object, old, None).await
    }

    /// The same, with the options of a deletion.
    pub(super) async fn admit_with(
        &self,
        phase: Phase,
        operation: Operation,
        object: &mut Value,
        old: &Value,
        deletion: Option<&DeleteOptions>,
    ) -> Result<(), Status> {
        let attributes = Attributes {
            api: self.api,
            cx: self.cx,
            target: Target { resource: self.stored.clone(), sub: self.sub },
            asked: self.row.clone(),
            operation,
            namespace: self.namespace,
            name: self.name,
            object,
            old,
            deletion,
            rounds: Rounds::default(),
        };
        let begun = Instant::now();
        let decided = timed(timing::Phase::Admission, run_phase(phase, attributes)).await;
        let mutating = phase == Phase::Mutate;
        self.api.metrics().observed.admitted(mutating, operation, begun.elapsed(), decided.is_ok());
        decided
    }
}

/// Runs one phase of admission, the mutating one a second time where a webhook changed the object.
pub(crate) async fn run_phase(phase: Phase, mut attributes: Attributes<'_>) -> Result<(), Status> {
    let plugins = attributes.api.admission();
    match phase {
        Phase::Validate => {
            for plugin in plugins {
                plugin.validate(&attributes).await?;
            }
        }
        Phase::Mutate => loop {
            for plugin in plugins {
                plugin.mutate(&mut attributes).await?;
            }
            if !attributes.rounds.next() {
                managed::keep_valid(&mut attributes);
                break;
            }
        },
    }
    Ok(())
}
