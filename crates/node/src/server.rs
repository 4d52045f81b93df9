//! The kubelet API.

use crate::Error;
use crate::agent::Agent;
use crate::node::machine::Machine;
use kaji_client::Client;
use std::sync::Arc;

/// The open listener.
pub(crate) struct Server {
    port: u16,
}

/// Opens the listener.
pub(crate) async fn open(agent: Arc<Agent>, client: Client, machine: Machine) -> Result<Server, Error> {
    let _ = (agent, client, machine);
    Ok(Server { port: 0 })
}

impl Server {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
    pub(crate) async fn run(self) {}
}
