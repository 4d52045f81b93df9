//! GET: an object, many of them, or what happens to them.

use crate::cache::Entry;
use crate::config::gates;
use crate::context::Target;
use crate::pipeline::fairness::WatchHold;
use crate::pipeline::frames;
use crate::pipeline::negotiate::Offer;
use crate::pipeline::output::{self, ListHead, Presenter};
use crate::pipeline::route::Asked;
use crate::registry::options::ListOptions;
use crate::registry::{Listed, Scope, Selection};
use crate::server::body::Response;
use crate::spans::event;
use crate::subresource;
use kaji_api::Status;
use std::sync::Arc;

pub(super) async fn get(asked: Asked<'_>, target: &Target) -> Result<Response, Status> {
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Objects)?;
    event("About to Get from storage");
    let entry = scope.get(asked.query.get("resourceVersion")).await?;
    match scope.sub {
        Some(_) => sub_answer(&scope, &presenter, entry).await,
        None => Ok(presenter.object(200, &*scope.presented_one(entry).await?)),
    }
}

pub(super) async fn list(asked: Asked<'_>, target: &Target) -> Result<Response, Status> {
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Objects)?;
    let options = ListOptions::parse(&asked.query, false)?;
    let selection = Selection::parse(&scope, &options)?;
    let found = scope.list(&options, &selection).await?;
    listed(&scope, &presenter, found).await
}

/// A list as the client wants it.
pub(super) async fn listed(scope: &Scope<'_>, presenter: &Presenter, listed: Listed) -> Result<Response, Status> {
    let head = ListHead { revision: listed.revision, continue_: listed.continue_, remaining: listed.remaining };
    Ok(presenter.list(scope.presented(listed.entries, true).await?, &head))
}

pub(super) async fn watch(asked: Asked<'_>, target: &Target) -> Result<Response, Status> {
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Stream)?;
    let options = ListOptions::parse(&asked.query, true)?;
    if !asked.api.config().gates.is_on(gates::WATCH_LIST) {
        options.check_without_initial_events()?;
    }
    let selection = Selection::parse(&scope, &options)?;
    let watcher = scope.watch(&options, selection).await?;
    let hold = WatchHold::of(&asked.parts.extensions);
    Ok(frames::respond(asked.api, watcher, presenter, hold))
}

/// What a subresource shows of an object.
pub(in crate::pipeline) async fn sub_answer(
    scope: &Scope<'_>,
    presenter: &Presenter,
    entry: Arc<Entry>,
) -> Result<Response, Status> {
    let entry = scope.presented_one(entry).await?;
    match subresource::view(scope, &entry.decode())? {
        Some(view) => Ok(output::metadata_or_document(200, &view, presenter.format)),
        None => Ok(presenter.object(200, &entry)),
    }
}
