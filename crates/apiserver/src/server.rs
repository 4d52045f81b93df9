//! The composition root: parts in boot order, and the listener.

pub mod body;
mod connection;
mod gather;
mod listen;
mod local;
mod objects;
mod patience;
mod tls;

pub use listen::{Listener, ServeError};
pub use local::Local;
pub use objects::{Changed, Changes};

use crate::admission::{self, Plugin};
use crate::aggregation::{self, Aggregation};
use crate::audit::Audit;
use crate::authn::{self, Authenticator};
use crate::authz::{self, Authorizer, Decision, Question};
use crate::cache::Caches;
use crate::config::Config;
use crate::encryption::{self, Sealer};
use crate::fairness::{self, Fairness};
use crate::pipeline::metrics::Metrics;
use crate::pipeline::{self, Inflight};
use crate::registry::{Scope, expiry};
use crate::reload::{self, Reloads};
use crate::row::{CustomRows, Row};
use crate::served::Served;
use crate::service_repair;
use crate::spans::{StoreCalls, Tracer};
use futures::future::BoxFuture;
use http::HeaderValue;
use kaji_api::{ResourceDef, Status};
use kaji_store::Store;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long sessions may take to end once the server has stopped.
const SESSIONS_END: Duration = Duration::from_secs(2);

/// The running API server's parts; cheap to clone.
#[derive(Clone)]
pub struct Api(pub(crate) Arc<Parts>);

/// The parts.
pub(crate) struct Parts {
    pub(crate) config: Config,
    caches: Arc<Caches>,
    served: Served,
    custom: CustomRows,
    admission: admission::Chain,
    aggregation: Aggregation,
    // Set once at start: both look at objects through the server that holds them.
    authenticators: OnceLock<Vec<Box<dyn Authenticator>>>,
    authorizers: OnceLock<Vec<Box<dyn Authorizer>>>,
    audit: Option<Arc<Audit>>,
    tracer: Option<Tracer>,
    reloads: Reloads,
    inflight: Inflight,
    origins: pipeline::Origins,
    transport_security: Option<HeaderValue>,
    fairness: Option<Fairness>,
    metrics: Metrics,
    ready: AtomicBool,
    // Set before the server stops, so that whoever sends it requests finds another one.
    leaving: AtomicBool,
    // Sessions that outlive the answer they began with.
    sessions: TaskTracker,
    stopping: CancellationToken,
    stopped: CancellationToken,
}

impl Api {
    /// Starts everything but the listener: fills the caches, follows the store, makes what every cluster needs.
    ///
    /// Boxed, so that the server's code is generated in this crate, once, and not again in each that awaits it.
    pub fn start(config: Config, store: Arc<dyn Store>) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(Self::start_parts(config, store))
    }

    async fn start_parts(config: Config, store: Arc<dyn Store>) -> Result<Self, StartError> {
        config.serving.validate().map_err(|why| StartError::BadFlag { why })?;
        config.accounts.validate().map_err(|why| StartError::BadFlag { why })?;
        let served = Served::new(&config).map_err(|why| StartError::BadFlag { why })?;
        let admission = admission::Chain::start(&config.admission)?;
        let tracer = Tracer::start(config.tracing.as_deref())?;
        let audit = Audit::start(&config.audit)?;
        let sealer = Sealer::start(&config.encryption).await?;
        if tracer.is_some() {
            store.tell_calls(Arc::new(StoreCalls));
        }
        let caches = Arc::new(Caches::new(store, sealer, &stored_rows()));
        let watch = caches.load().await.map_err(StartError::Load)?;
        caches.sealer().check_load(&caches.usage())?;
        let (stopping, stopped) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(caches.clone().run(watch, stopped.clone()));
        let limits = config.limits;
        let origins = pipeline::Origins::new(&config.serving.origins);
        let transport_security = pipeline::transport_security(&config.serving.transport_security);
        let api = Api(Arc::new(Parts {
            config,
            caches,
            served,
            custom: CustomRows::default(),
            admission,
            aggregation: Aggregation::default(),
            authenticators: OnceLock::new(),
            authorizers: OnceLock::new(),
            audit,
            tracer,
            reloads: Reloads::default(),
            inflight: Inflight::new(&limits),
            origins,
            transport_security,
            fairness: limits.fairness.then(|| Fairness::new(limits.reading + limits.writing)),
            metrics: Metrics::default(),
            ready: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            sessions: TaskTracker::new(),
            stopping,
            stopped,
        }));
        let _ = api.0.authenticators.set(authn::chain(&api)?);
        let _ = api.0.authorizers.set(authz::chain(&api));
        // Served before anything may ask for them.
        let custom = crate::custom::Controller::start(&api).await;
        tokio::spawn(custom.run());
        crate::bootstrap::run(&api).await.map_err(StartError::Bootstrap)?;
        if let Some(audit) = api.0.audit.clone() {
            let file = audit.policy_file().to_owned();
            let follower = api.clone();
            let changed = move || {
                if let Some(well) = audit.reload() {
                    follower.reloads().record("audit-policy", well);
                }
            };
            tokio::spawn(reload::watch(vec![file], api.0.stopped.clone(), changed));
        }
        tokio::spawn(admission::follow(api.clone()));
        tokio::spawn(encryption::watch(api.caches().clone(), api.0.stopped.clone()));
        tokio::spawn(encryption::rotation::run(api.caches().clone(), api.0.stopped.clone()));
        tokio::spawn(expiry::run(api.clone(), api.config().limits.event));
        fairness::apply(&api);
        tokio::spawn(fairness::run(api.clone()));
        tokio::spawn(aggregation::run(api.clone()));
        tokio::spawn(admission::policy::check_types(api.clone()));
        tokio::spawn(crate::bootstrap::keep_default_range(api.clone()));
        tokio::spawn(service_repair::run(api.clone(), service_repair::ALL_AGAIN));
        tokio::spawn(aggregation::register::run(api.clone()));
        api.0.ready.store(true, Ordering::Release);
        Ok(api)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Cancelled when the server begins to stop: watches end, `/readyz` says no, requests at work go on.
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Cancelled when the last request is done; background tasks of the server's parts end with it.
    pub fn stopped(&self) -> &CancellationToken {
        &self.0.stopped
    }

    /// Ends watches and background tasks. [`Api::serve`] does it by itself at shutdown.
    pub fn stop(&self) {
        self.0.stopping.cancel();
        self.0.stopped.cancel();
    }

    /// Writes and delivers all audit events there are. [`Api::serve`] does it by itself at shutdown.
    pub async fn close_audit(&self) {
        if let Some(audit) = self.audit() {
            // Sessions were told to end; their last events come now.
            self.0.sessions.close();
            let _ = tokio::time::timeout(SESSIONS_END, self.0.sessions.wait()).await;
            audit.close().await;
        }
    }

    /// Sends all spans there are to the collector. [`Api::serve`] does it by itself at shutdown.
    pub async fn close_traces(&self) {
        if let Some(tracer) = self.tracer() {
            tracer.close().await;
        }
    }

    /// Whether start-up is complete.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }

    /// Whether the server is about to stop.
    pub(crate) fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Acquire) || self.0.stopping.is_cancelled()
    }

    pub(crate) fn leave(&self) {
        self.0.leaving.store(true, Ordering::Release);
    }

    pub(crate) fn caches(&self) -> &Arc<Caches> {
        &self.0.caches
    }

    /// The built-in resources that are served.
    pub(crate) fn served(&self) -> &Served {
        &self.0.served
    }

    /// The custom resources that are served now.
    pub(crate) fn custom(&self) -> &CustomRows {
        &self.0.custom
    }

    pub(crate) fn admission(&self) -> &[Box<dyn Plugin>] {
        self.0.admission.plugins()
    }

    pub(crate) fn admission_chain(&self) -> &admission::Chain {
        &self.0.admission
    }

    pub(crate) fn aggregation(&self) -> &Aggregation {
        &self.0.aggregation
    }

    pub(crate) fn authenticators(&self) -> &[Box<dyn Authenticator>] {
        self.0.authenticators.get().map_or(&[], |a| a)
    }

    /// Sessions beside requests: exec, port-forward.
    pub(crate) fn sessions(&self) -> &TaskTracker {
        &self.0.sessions
    }

    /// How often files of the configuration were taken anew.
    pub(crate) fn reloads(&self) -> &Reloads {
        &self.0.reloads
    }

    /// Auditing, if it is on.
    pub(crate) fn audit(&self) -> Option<&Arc<Audit>> {
        self.0.audit.as_ref()
    }

    /// Tracing, if it is on.
    pub(crate) fn tracer(&self) -> Option<&Tracer> {
        self.0.tracer.as_ref()
    }

    pub(crate) fn inflight(&self) -> &Inflight {
        &self.0.inflight
    }

    /// The origins whose pages may call.
    pub(crate) fn origins(&self) -> &pipeline::Origins {
        &self.0.origins
    }

    /// The header of that name, in every answer.
    pub(crate) fn transport_security(&self) -> Option<&HeaderValue> {
        self.0.transport_security.as_ref()
    }

    /// Priority and fairness; none: switched off.
    pub(crate) fn fairness(&self) -> Option<&Fairness> {
        self.0.fairness.as_ref()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn authorizers(&self) -> &[Box<dyn Authorizer>] {
        self.0.authorizers.get().map_or(&[], |a| a)
    }

    /// Asks the authorizers in order; members of `system:masters` may do everything.
    pub async fn authorize(&self, question: &Question) -> Decision {
        if question.user.in_group("system:masters") {
            return Decision::Allow(String::new());
        }
        let mut reasons = Vec::new();
        for authorizer in self.authorizers() {
            match authorizer.authorize(question).await {
                Decision::NoOpinion(why) if why.is_empty() => {}
                Decision::NoOpinion(why) => reasons.push(why),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join(", "))
    }

    /// Whether the user of a request may also create what an update is about to create.
    pub(crate) async fn may_create(&self, scope: &Scope<'_>) -> Result<(), Status> {
        let question = Question {
            user: scope.cx.user.clone(),
            verb: "create".to_owned(),
            is_resource: true,
            group: scope.row.group.to_owned(),
            version: scope.row.version.to_owned(),
            resource: scope.row.plural.to_owned(),
            namespace: scope.namespace.to_owned(),
            name: scope.name.to_owned(),
            ..Question::default()
        };
        match self.authorize(&question).await {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => Err(pipeline::forbidden(&question, &why)),
        }
    }
}

/// Between 0 and 1; not to be relied on for secrets.
pub(crate) fn fraction() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

/// One row per stored resource: the one in the storage version.
fn stored_rows() -> Vec<Row> {
    let mut by_prefix: HashMap<&str, &'static ResourceDef> = HashMap::new();
    let is_stored = |row: &ResourceDef| row.storage == (row.group, row.version, row.kind);
    for row in kaji_api::resource::all().iter().filter(|r| r.enabled && !r.prefix.is_empty() && r.ty.is_some()) {
        let kept = by_prefix.entry(row.prefix).or_insert(row);
        if is_stored(row) {
            *kept = row;
        }
    }
    by_prefix.into_values().map(Row::BuiltIn).collect()
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file of the configuration could not be read.
    #[error("could not read {what} {path}")]
    ReadFile {
        /// What the file is for.
        what: &'static str,
        /// Its path.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// A file of the configuration holds something else.
    #[error("{what} {path} is unusable: {why}")]
    BadFile {
        /// What the file is for.
        what: &'static str,
        /// Its path.
        path: std::path::PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Flags contradict each other or say nothing sensible.
    #[error("{why}")]
    BadFlag {
        /// Upstream's text.
        why: String,
    },
    /// The address to listen on is taken or not ours.
    #[error("could not listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// The store could not be read.
    #[error("could not load the API's objects from the store")]
    Load(#[source] kaji_store::StoreError),
    /// What every cluster needs could not be written.
    #[error("could not write the first objects")]
    Bootstrap(#[source] kaji_api::Status),
}
