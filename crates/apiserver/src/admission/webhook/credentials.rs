//! As whom webhooks are called: users of a kubeconfig, by the webhook's host (apiserver `util/webhook/authentication.go`).

use crate::remote::{Peer, Place, User, authority};
use kaji_api::{Value, codec};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The user that counts where no other fits.
const ANY: &str = "*";
const HTTPS: &str = ":443";
/// This server itself.
const SELF: &str = "kubernetes.default.svc:443";

/// The users of a kubeconfig, by name; the default has none.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    users: BTreeMap<String, Arc<User>>,
    /// The one of the current context.
    current: Option<Arc<User>>,
}

impl Credentials {
    /// From a file; the error names it.
    pub(super) fn load(file: &Path) -> Result<Self, String> {
        let bad = |why: String| format!("kubeConfigFile {}: {why}", file.display());
        let text = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
        Self::read(&text, file.parent().unwrap_or(Path::new("/"))).map_err(bad)
    }

    fn read(text: &[u8], dir: &Path) -> Result<Self, String> {
        let config = codec::parse_yaml(text).map_err(|error| error.to_string())?;
        let mut users = BTreeMap::new();
        for entry in config["users"].items() {
            let name = entry["name"].str();
            let user = User::read(&entry["user"], dir).map_err(|why| format!("users: {name:?}: {why}"))?;
            if users.insert(name.to_owned(), Arc::new(user)).is_some() {
                return Err(format!("users: duplicate name {name:?} in list"));
            }
        }
        let is_current = |context: &&Value| context["name"].str() == config["current-context"].str();
        let current = config["contexts"].items().iter().find(is_current);
        let current = current.and_then(|context| users.get(context["context"]["user"].str()).cloned());
        Ok(Credentials { users, current })
    }

    /// As whom a webhook is called; none: as nobody.
    pub(super) fn of(&self, peer: &Peer) -> Option<Arc<User>> {
        let (Place::Address { port, .. } | Place::Service { port, .. }) = &peer.place;
        self.find(&authority(&peer.server_name(), *port)).cloned()
    }

    /// The user for a host and its port: of that name, of a name with a star for its first labels, the same without
    /// port 443, the one for all, the current one.
    fn find(&self, target: &str) -> Option<&Arc<User>> {
        if target == SELF {
            return None;
        }
        let named = self.named(target).or_else(|| self.named(target.strip_suffix(HTTPS)?.trim_matches(['[', ']'])));
        named.or_else(|| self.users.get(ANY)).or(self.current.as_ref())
    }

    fn named(&self, target: &str) -> Option<&Arc<User>> {
        let starred = target.match_indices('.').map(|(at, _)| format!("*{}", &target[at..]));
        std::iter::once(target.to_owned()).chain(starred).find_map(|name| self.users.get(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    fn read(text: &str) -> Result<Credentials, String> {
        Credentials::read(text.as_bytes(), Path::new("/"))
    }

    /// A kubeconfig whose users have these names, and tokens that are the same.
    fn of(names: &[&str], current: &str) -> Credentials {
        let users: Vec<String> =
            names.iter().map(|name| format!("{{name: '{name}', user: {{token: '{name}'}}}}")).collect();
        let context = format!("contexts: [{{name: c, context: {{user: '{current}'}}}}]\ncurrent-context: c\n");
        read(&format!("{context}users: [{}]", users.join(", "))).unwrap()
    }

    #[test]
    fn users_are_chosen_by_host() {
        let table: [(&[&str], &str, &str, &str); 15] = [
            (&["a.b.c:8443", "*.b.c:8443", "*"], "", "a.b.c:8443", "a.b.c:8443"),
            (&["a.b.c", "*.b.c:8443", "*"], "", "a.b.c:8443", "*.b.c:8443"),
            (&["*.c:8443", "*.b.c:8443"], "", "a.b.c:8443", "*.b.c:8443"),
            (&["*.c:8443"], "", "a.b.c:8443", "*.c:8443"),
            (&["a.b.c", "*.c"], "", "a.b.c:8443", ""),
            (&["a.b.c", "*.b.c:443"], "", "a.b.c:443", "*.b.c:443"),
            (&["a.b.c", "*.b.c"], "", "a.b.c:443", "a.b.c"),
            (&["*.b.c", "*"], "", "a.b.c:443", "*.b.c"),
            (&["*.svc"], "", "hook.ns.svc:443", "*.svc"),
            (&["hook.ns.svc"], "", "hook.ns.svc:443", "hook.ns.svc"),
            (&["b.c", "*.a.b.c"], "", "a.b.c:443", ""),
            (&["*"], "u", "localhost:443", "*"),
            (&["u", "*.x"], "u", "localhost:443", "u"),
            (&["u"], "v", "localhost:443", ""),
            (&["*", "kubernetes.default.svc:443"], "*", SELF, ""),
        ];
        for (names, current, target, expected) in table {
            let credentials = of(names, current);
            let found = credentials.find(target);
            assert_eq!(found, credentials.users.get(expected), "{names:?} {target}");
        }
    }

    #[test]
    fn a_webhook_s_host_is_that_of_its_client_config() {
        let credentials = of(&["hook.ns.svc:8443", "example.org", "[::1]:443"], "");
        for (config, expected) in [
            (value!({"service": {"namespace": "ns", "name": "hook", "port": 8443}}), "hook.ns.svc:8443"),
            (value!({"url": "https://example.org/x"}), "example.org"),
            (value!({"url": "https://example.org:444/x"}), ""),
            (value!({"url": "https://[::1]/"}), "[::1]:443"),
        ] {
            let peer = Peer::from_client_config(&config).unwrap();
            assert_eq!(credentials.of(&peer).as_ref(), credentials.users.get(expected), "{expected}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("users: [{name: a, user: {exec: {command: x}}}]", "users: \"a\": exec is not supported here"),
            ("users: [{name: a}, {name: a}]", "users: duplicate name \"a\" in list"),
        ] {
            assert_eq!(read(text).unwrap_err(), why);
        }
        assert!(Credentials::load(Path::new("/nowhere/x")).unwrap_err().starts_with("kubeConfigFile /nowhere/x: "));
    }
}
