//! The node agent: pods over CRI, volumes, probes, streaming, status; simulated nodes.
