//! Keeps services and the claims to their addresses in agreement (upstream
//! `pkg/registry/core/service/ipallocator/controller/repairip.go`): claims that are missing or another's are made
//! anew, those that nobody needs are removed, and what only people can mend is told in events.
//!
//! Changes are looked at as they come. What looks broken is looked at a second time, once the caches show all that was
//! acknowledged; so nothing is mended that is only on its way.

mod plan;

use crate::backoff::Backoff;
use crate::context::RequestContext;
use crate::events::Recorder;
use crate::registry::expiry::EVENT_TTL;
use crate::server::{Api, Changed};
use crate::strategy::service::addresses::{self, RESOURCE, SERVICES};
use crate::strategy::service::ranges::{self, RANGES};
use kaji_api::{GroupResource, ObjectKey, Status, Value};
use plan::{Look, Step};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long after a claim was removed all services are looked at: it may have been needed.
pub(crate) const ALL_AGAIN: Duration = Duration::from_secs(180);

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    AllServices,
    Service(ObjectKey),
    Claim(String),
}

/// Repairs until the server has stopped.
pub(crate) async fn run(api: Api, all_again: Duration) {
    let repair = Repair { recorder: Recorder::new(api.clone(), "ipallocator-repair-controller"), api, all_again };
    let stopped = repair.api.stopped().clone();
    loop {
        tokio::select! {
            () = stopped.cancelled() => return,
            () = repair.follow() => tracing::debug!("starting over with the repair of services' addresses"),
        }
    }
}

struct Repair {
    api: Api,
    recorder: Recorder,
    all_again: Duration,
}

impl Look for Api {
    fn in_range(&self, address: IpAddr) -> bool {
        ranges::any_has(self, address)
    }

    fn claim(&self, name: &str) -> Option<Arc<Value>> {
        self.get_cached(&RESOURCE, "", name)
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.get_cached(&SERVICES, namespace, name)
    }
}

impl Repair {
    /// Looks at everything, then at what changes; returns when changes were missed.
    async fn follow(&self) {
        let follow = |resource: GroupResource| self.api.subscribe(&resource).expect("built in");
        let (_, mut ranges) = follow(RANGES);
        let (_, mut services) = follow(SERVICES);
        let (claims, mut claim_changes) = follow(RESOURCE);
        let (mut waiting, mut backoff) = (Waiting::default(), Backoff::default());
        self.look_at(Subject::AllServices, &mut waiting, &mut backoff).await;
        for claim in claims {
            self.look_at(Subject::Claim(claim.name().to_owned()), &mut waiting, &mut backoff).await;
        }
        loop {
            let changed = tokio::select! {
                changed = services.next() => changed.map(|all| present(all).map(Subject::Service).collect()),
                changed = ranges.next() => changed.map(|_| vec![Subject::AllServices]),
                changed = claim_changes.next() => changed.map(|all| {
                    if all.iter().any(|c| c.object.is_none()) {
                        waiting.add(Subject::AllServices, self.all_again);
                    }
                    present(all).map(|key| Subject::Claim(key.name)).collect()
                }),
                due = waiting.next() => Some(vec![due]),
            };
            let Some(subjects): Option<Vec<Subject>> = changed else { return };
            for subject in subjects {
                self.look_at(subject, &mut waiting, &mut backoff).await;
            }
        }
    }

    async fn look_at(&self, subject: Subject, waiting: &mut Waiting, backoff: &mut Backoff<Subject>) {
        let all = match subject {
            Subject::AllServices => {
                self.api.list_cached(&SERVICES, "").iter().map(|s| Subject::Service(s.key())).collect()
            }
            one => vec![one],
        };
        for subject in all {
            match self.mend(&subject).await {
                Ok(later) => {
                    backoff.forget(&subject);
                    if let Some(later) = later {
                        waiting.add(subject, later);
                    }
                }
                // Another server was faster; what it did comes as a change.
                Err(status) if matches!(status.code, 404 | 409) => backoff.forget(&subject),
                Err(status) => {
                    tracing::warn!(?subject, %status, "could not repair a service's address; trying again");
                    let pause = backoff.failed(subject.clone());
                    waiting.add(subject, pause);
                }
            }
        }
    }

    /// Looks, and looks again before it does anything. Gives when to look once more.
    async fn mend(&self, subject: &Subject) -> Result<Option<Duration>, Status> {
        let later = |steps: &[Step]| steps.iter().find_map(|s| if let Step::Later(t) = s { Some(*t) } else { None });
        let (_, steps) = self.plan(subject);
        if steps.iter().all(|step| matches!(step, Step::Later(_))) {
            return Ok(later(&steps));
        }
        self.api.fresh().await?;
        let (Some(object), steps) = self.plan(subject) else { return Ok(None) };
        let mut next = later(&steps);
        for step in steps {
            if matches!(step, Step::Tell { .. }) {
                // Told again, if it is still so, when the event is over.
                next = next.or(Some(EVENT_TTL));
            }
            self.carry_out(&object, step).await?;
        }
        Ok(next)
    }

    /// The object, and what is to be done; nothing if it changed meanwhile, since that comes as a change.
    fn plan(&self, subject: &Subject) -> (Option<Arc<Value>>, Vec<Step>) {
        let look = || match subject {
            Subject::Service(key) => self.api.service(&key.namespace, &key.name),
            Subject::Claim(name) => self.api.claim(name),
            Subject::AllServices => None,
        };
        let Some(object) = look() else { return (None, Vec::new()) };
        let steps = match subject {
            Subject::Service(_) => plan::service(&object, &self.api),
            _ => plan::claim(&object, &self.api, jiff::Timestamp::now()),
        };
        let same = look().is_some_and(|now| now.resource_version() == object.resource_version());
        (Some(object), if same { steps } else { Vec::new() })
    }

    async fn carry_out(&self, object: &Value, step: Step) -> Result<(), Status> {
        match step {
            Step::Tell { reason, action, note } => {
                tracing::warn!(object = %object.key(), reason, note, "a service's address");
                self.recorder.warn(object, reason, action, &note).await;
            }
            Step::Claim(address) => drop(addresses::create(&self.api, object, address).await?),
            Step::Replace { claim, address } => {
                self.remove(&claim).await?;
                addresses::create(&self.api, object, address).await?;
            }
            Step::Remove => self.remove(object).await?,
            Step::Later(_) => {}
        }
        Ok(())
    }

    async fn remove(&self, claim: &Value) -> Result<(), Status> {
        self.api.delete_uid(&RequestContext::system(), &RESOURCE, &claim.key(), claim.uid()).await
    }
}

fn present(changes: Vec<Changed>) -> impl Iterator<Item = ObjectKey> {
    changes.into_iter().filter(|c| c.object.is_some()).map(|c| c.key)
}

/// What is to be looked at later, by time.
#[derive(Default)]
struct Waiting(BTreeSet<(Instant, Subject)>);

impl Waiting {
    fn add(&mut self, subject: Subject, after: Duration) {
        // One look at all services is enough.
        if subject != Subject::AllServices || !self.0.iter().any(|(_, s)| *s == Subject::AllServices) {
            self.0.insert((Instant::now() + after, subject));
        }
    }

    /// The next one, when its time has come.
    async fn next(&mut self) -> Subject {
        match self.0.first() {
            Some((at, _)) => tokio::time::sleep_until(*at).await,
            None => std::future::pending().await,
        }
        self.0.pop_first().expect("the one that was waited for").1
    }
}
