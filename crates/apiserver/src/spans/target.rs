//! Where a collector is, by gRPC's naming (<https://github.com/grpc/grpc/blob/master/doc/naming.md>).

use std::fmt;

/// The port of a name without one.
const PORT: u16 = 443;

/// Where a collector is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Host and port.
    Tcp(String),
    /// A Unix socket in the file system.
    Path(String),
    /// A Unix socket without a file.
    Abstract(String),
}

impl Target {
    /// From `host:port`, `dns:host:port`, `dns://resolver/host:port` (the machine's own resolver is asked all the same),
    /// `unix:path`, `unix:///path`, `unix-abstract:name`.
    pub(super) fn parse(endpoint: &str) -> Result<Self, String> {
        if let Some(name) = endpoint.strip_prefix("unix-abstract:") {
            return Ok(Target::Abstract(local(name)?.to_owned()));
        }
        if let Some(path) = endpoint.strip_prefix("unix:") {
            return Ok(Target::Path(local(path)?.to_owned()));
        }
        let address = endpoint.strip_prefix("dns:").unwrap_or(endpoint);
        let address = match address.strip_prefix("//") {
            Some(rest) => rest.split_once('/').map_or("", |(_, address)| address),
            None => address,
        };
        let uri: http::Uri = format!("http://{address}").parse().map_err(|why| format!("{why}: want host:port"))?;
        let authority = uri.authority().map(|a| a.as_str()).filter(|a| *a == address);
        let authority = authority.ok_or_else(|| "no address: want host:port or dns:///host:port".to_owned())?;
        Ok(Target::Tcp(if uri.port().is_some() { authority.to_owned() } else { format!("{authority}:{PORT}") }))
    }
}

/// Path or name behind the scheme of a socket on this machine.
fn local(text: &str) -> Result<&str, String> {
    match text.strip_prefix("//") {
        Some(rest) if rest.starts_with('/') => Ok(rest),
        Some(_) => Err("invalid (non-empty) authority: want a path behind three slashes".to_owned()),
        None if text.is_empty() => Err("no path".to_owned()),
        None => Ok(text),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(address) => f.write_str(address),
            Target::Path(path) => write!(f, "unix:{path}"),
            Target::Abstract(name) => write!(f, "unix-abstract:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_grpc_reads_them() {
        let tcp = |address: &str| Ok(Target::Tcp(address.to_owned()));
        for (text, expected) in [
            ("localhost:4317", tcp("localhost:4317")),
            ("[::1]:4317", tcp("[::1]:4317")),
            ("collector", tcp("collector:443")),
            ("dns:collector:1", tcp("collector:1")),
            ("dns:///collector:1", tcp("collector:1")),
            ("dns://10.0.0.10/collector:1", tcp("collector:1")),
            ("unix:run/x.sock", Ok(Target::Path("run/x.sock".to_owned()))),
            ("unix:///run/x.sock", Ok(Target::Path("/run/x.sock".to_owned()))),
            ("unix-abstract:x", Ok(Target::Abstract("x".to_owned()))),
            ("unix://run/x.sock", Err("invalid (non-empty) authority: want a path behind three slashes".to_owned())),
            ("dns://collector:1", Err("invalid format: want host:port".to_owned())),
        ] {
            let got = Target::parse(text);
            match &expected {
                Ok(_) => assert_eq!(got, expected, "{text}"),
                Err(_) => assert!(got.is_err(), "{text}: {got:?}"),
            }
        }
        for text in ["", "a b", "host:1/path"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
