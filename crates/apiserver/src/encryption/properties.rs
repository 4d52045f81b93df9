//! See [`crate::properties`].

use super::chain::{SEALED, Transformers};
use super::config::Config;
use super::envelope::Envelope;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use tokio::sync::watch;

/// An `EncryptionConfiguration`.
pub fn encryption_configuration(data: &[u8]) {
    if let Ok(config) = Config::parse(Path::new("config.yaml"), data) {
        let shown = format!("{config:?}");
        assert_eq!(Config::parse(Path::new("config.yaml"), data).as_ref(), Ok(&config), "{shown}");
    }
}

/// Every way to seal, each first in the rule of one resource.
const CONFIG: &[u8] = b"kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
- {resources: [a], providers: [{aesgcm: &keys {keys: [{name: k, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}}]}
- {resources: [b], providers: [{secretbox: *keys}, {identity: {}}]}
- {resources: [c], providers: [{aescbc: *keys}, {aesgcm: *keys}]}
- {resources: [d], providers: [{identity: {}}, {aescbc: *keys}, {secretbox: *keys}]}
";

static RULES: LazyLock<Transformers> = LazyLock::new(|| {
    let config = Config::parse(Path::new("config.yaml"), CONFIG).expect("a configuration");
    Transformers::new(&config, String::new(), &watch::channel(0).0, &Arc::new(Envelope::default()))
});

/// A value of the store: opened as it is, behind every prefix, and sealed. What was sealed opens; damaged, where the
/// cipher can tell, it does not.
pub fn sealed(data: &[u8]) {
    for resource in ["a", "b", "c", "d"] {
        let chain = RULES.chain("", resource).expect("a rule");
        let _ = chain.open("/x", data);
        let prefix = chain.write_prefix().as_bytes();
        let _ = chain.open("/x", &[prefix, data].concat());
        let sealed = chain.seal("/x", data).expect("keys are at hand");
        if prefix.is_empty() && data.starts_with(SEALED) {
            continue;
        }
        assert_eq!(chain.open("/x", &sealed).map(|(plain, _)| plain.into_owned()), Ok(data.to_vec()), "{resource}");
        let (tells, binds) = (matches!(resource, "a" | "b"), resource == "a");
        let mut damaged = sealed.clone();
        damaged.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1);
        assert!(!tells || chain.open("/x", &damaged).is_err(), "damaged");
        assert!(!binds || chain.open("/y", &sealed).is_err(), "moved");
    }
}
