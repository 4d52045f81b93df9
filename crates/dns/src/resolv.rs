//! Who answers names outside the cluster.

use parking_lot::Mutex;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// How often a changed file is noticed, at most; only questions make us look.
const LOOK: Duration = Duration::from_secs(5);

/// Where other names are forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstreams {
    /// To the name servers of a file like `/etc/resolv.conf`; changes to it are followed.
    ResolvConf(PathBuf),
    /// To these, in this order.
    These(Vec<SocketAddr>),
}

/// The current name servers, without ourselves.
pub(crate) struct Resolvers {
    upstreams: Upstreams,
    own: Vec<SocketAddr>,
    read: Mutex<Option<Read>>,
}

struct Read {
    looked: Instant,
    modified: Option<SystemTime>,
    servers: Vec<SocketAddr>,
}

impl Resolvers {
    pub(crate) fn new(upstreams: Upstreams, own: Vec<SocketAddr>) -> Self {
        Self { upstreams, own, read: Mutex::new(None) }
    }

    pub(crate) fn current(&self) -> Vec<SocketAddr> {
        match &self.upstreams {
            Upstreams::These(servers) => self.without_us(servers.clone()),
            Upstreams::ResolvConf(path) => {
                let mut read = self.read.lock();
                if let Some(read) = &*read
                    && read.looked.elapsed() < LOOK
                {
                    return read.servers.clone();
                }
                let modified = fs::metadata(path).and_then(|meta| meta.modified()).ok();
                let same = read.take().filter(|before| modified.is_some() && before.modified == modified);
                let servers = same
                    .map(|before| before.servers)
                    .unwrap_or_else(|| self.without_us(name_servers(&fs::read_to_string(path).unwrap_or_default())));
                *read = Some(Read { looked: Instant::now(), modified, servers: servers.clone() });
                servers
            }
        }
    }

    /// A question sent to ourselves would come back for ever.
    fn without_us(&self, mut servers: Vec<SocketAddr>) -> Vec<SocketAddr> {
        servers.retain(|server| {
            let ours = |own: &SocketAddr| {
                own.port() == server.port() && (own.ip() == server.ip() || own.ip().is_unspecified())
            };
            !self.own.iter().any(ours)
        });
        servers
    }
}

fn name_servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = lines.filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok());
    addresses.map(|ip| SocketAddr::new(ip, 53)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_in_order() {
        let text =
            "# made by hand\nsearch example.org\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # two\nnameserver x\n";
        let expected: Vec<SocketAddr> = vec!["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()];
        assert_eq!(name_servers(text), expected);
    }

    #[test]
    fn we_never_ask_ourselves() {
        let own = vec!["10.96.0.10:53".parse().unwrap()];
        let all = ["10.96.0.10:53", "10.96.0.10:5353", "192.0.2.1:53"].map(|a| a.parse().unwrap()).to_vec();
        let resolvers = Resolvers::new(Upstreams::These(all.clone()), own);
        assert_eq!(resolvers.current(), all[1..]);
        let everywhere = Resolvers::new(Upstreams::These(all), vec!["0.0.0.0:53".parse().unwrap()]);
        assert_eq!(everywhere.current(), ["10.96.0.10:5353".parse::<SocketAddr>().unwrap()]);
    }
}
