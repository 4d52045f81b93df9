//! See [`crate::properties`].

use super::config::Config;
use std::path::Path;

/// An `EncryptionConfiguration`.
pub fn encryption_configuration(data: &[u8]) {
    if let Ok(config) = Config::parse(Path::new("config.yaml"), data) {
        let shown = format!("{config:?}");
        assert_eq!(Config::parse(Path::new("config.yaml"), data).as_ref(), Ok(&config), "{shown}");
    }
}
