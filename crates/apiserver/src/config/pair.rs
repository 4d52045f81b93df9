//! `--tls-sni-cert-key`: a serving certificate for some names.

use std::path::PathBuf;
use std::str::FromStr;

/// A certificate and its key (PEM), and the names that it is shown for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPair {
    /// The certificate, its chain behind it.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Host names, the first part perhaps `*`, and addresses; none: the names that the certificate has.
    pub names: Vec<String>,
}

/// `cert,key` or `cert,key:name,name`; the errors are upstream's.
impl FromStr for NamedPair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (files, names) = match text.split_once(':') {
            Some((_, names)) if names.trim().is_empty() => return Err("empty names list is not allowed"),
            Some((files, names)) => (files, names.split(',').map(|name| name.trim().to_owned()).collect()),
            None => (text, Vec::new()),
        };
        let files: Vec<&str> = files.split(',').map(str::trim).collect();
        match files.as_slice() {
            [cert, key] if !cert.is_empty() && !key.is_empty() => {
                Ok(NamedPair { cert: cert.into(), key: key.into(), names })
            }
            [_, _] => Err("missing filename for serving cert"),
            _ => Err("expected comma separated certificate and key file paths"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_upstream_reads_them() {
        let pair = |names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect();
            Ok(NamedPair { cert: "a.crt".into(), key: "a.key".into(), names })
        };
        let table = [
            ("a.crt,a.key", pair(&[])),
            (" a.crt , a.key ", pair(&[])),
            ("a.crt,a.key:*.foo.com, foo.com", pair(&["*.foo.com", "foo.com"])),
            ("a.crt,a.key:fd00::1", pair(&["fd00::1"])),
            ("a.crt,a.key: ", Err("empty names list is not allowed")),
            ("a.crt", Err("expected comma separated certificate and key file paths")),
            ("a.crt,b,c", Err("expected comma separated certificate and key file paths")),
            ("a.crt,", Err("missing filename for serving cert")),
        ];
        for (text, read) in table {
            assert_eq!(text.parse::<NamedPair>(), read, "{text}");
        }
    }
}
