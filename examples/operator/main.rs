//! An operator: looks after the `Website` objects of a cluster, and says which are wrong before they are stored.
//!
//! `cargo run -p kaji --example operator` with a kubeconfig at hand, after `kubectl apply -f
//! examples/operator/crd.yaml`; or in the cluster, see `README.md`. With `TLS_CERT` and `TLS_KEY` (PEM files) it
//! serves its webhook, too, at `WEBHOOK_ADDRESS` (`0.0.0.0:8443`).

mod operator;
mod webhook;

use anyhow::Context;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::env;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = kube::Client::try_default().await.context("could not find out where the cluster is")?;
    if let Ok(certificate) = env::var("TLS_CERT") {
        let key = env::var("TLS_KEY").context("TLS_CERT is set, TLS_KEY is not")?;
        let address = env::var("WEBHOOK_ADDRESS").unwrap_or_else(|_| "0.0.0.0:8443".to_owned());
        let listener = TcpListener::bind(&address).await.with_context(|| format!("could not listen on {address}"))?;
        tracing::info!(address, "serving the webhook");
        tokio::spawn(webhook::serve(listener, tls(&certificate, &key)?));
    }
    let stop = async {
        // Without signals, it runs until it is killed.
        let _ = tokio::signal::ctrl_c().await;
    };
    operator::run(client, stop).await;
    Ok(())
}

fn tls(certificate: &str, key: &str) -> anyhow::Result<rustls::ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate).with_context(|| format!("could not read {certificate}"))?;
    let chain = chain.collect::<Result<_, _>>().with_context(|| format!("{certificate} holds no certificates"))?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("{key} holds no private key"))?;
    Ok(rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?)
}
