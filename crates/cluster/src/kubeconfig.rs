//! Writing kubeconfig files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// A kubeconfig with one cluster, one user, one context, certificates inside.
pub fn render(server: &str, ca_pem: &str, user: &str, cert_pem: &str, key_pem: &str) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kaji", "cluster": {
            "server": server, "certificate-authority-data": STANDARD.encode(ca_pem)}}],
        "users": [{"name": user, "user": {
            "client-certificate-data": STANDARD.encode(cert_pem), "client-key-data": STANDARD.encode(key_pem)}}],
        "contexts": [{"name": "kaji", "context": {"cluster": "kaji", "user": user}}],
        "current-context": "kaji",
    });
    serde_saphyr::to_string(&config).expect("plain data")
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_written_is_yaml_that_names_the_server() {
        let text = super::render("https://127.0.0.1:6443", "ca", "admin", "cert", "key");
        let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read["clusters"][0]["cluster"]["server"], "https://127.0.0.1:6443");
        assert_eq!(read["users"][0]["user"]["client-key-data"], "a2V5");
    }
}
