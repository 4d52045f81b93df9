//! The whole server in one process on a temporary directory, asked as clients ask it.

mod admission;
mod aggregation;
mod applying;
mod audit;
mod conversion;
mod custom;
mod definitions;
mod encryption;
pub(crate) mod extension;
mod fairness;
mod flags;
pub(crate) mod harness;
mod limits;
mod mutations;
mod negotiation;
mod objects;
mod observed;
mod placement;
mod pods;
mod policies;
mod rules;
mod selection;
mod services;
mod shared;
mod stubs;
mod tls;
mod traces;
mod watching;
mod webhook_credentials;
mod webhooks;
mod writing;

pub(crate) use harness::{Answer, Server, answer, ask, refusing, request};
