//! `--requestheader-*`: proxies that say who sends a request.

use std::path::PathBuf;

/// Whose word is taken, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontProxy {
    /// `--requestheader-client-ca-file`: the authority of their certificates.
    pub authority: PathBuf,
    /// `--requestheader-allowed-names`: their common names; none: any.
    pub names: Vec<String>,
    /// `--requestheader-username-headers`: the first that is there counts.
    pub users: Vec<String>,
    /// `--requestheader-uid-headers`: the first that is there counts.
    pub uids: Vec<String>,
    /// `--requestheader-group-headers`: all count.
    pub groups: Vec<String>,
    /// `--requestheader-extra-headers-prefix`: how headers begin that hold more of a user.
    pub extra_prefixes: Vec<String>,
}

impl FrontProxy {
    /// Any proxy with a certificate of an authority, and the usual headers.
    pub fn new(authority: PathBuf) -> Self {
        let one = |header: &str| vec![header.to_owned()];
        FrontProxy {
            authority,
            names: Vec::new(),
            users: one("X-Remote-User"),
            uids: one("X-Remote-Uid"),
            groups: one("X-Remote-Group"),
            extra_prefixes: one("X-Remote-Extra-"),
        }
    }
}
