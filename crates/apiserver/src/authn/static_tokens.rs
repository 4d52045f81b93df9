//! Tokens and their users in a file (`--token-auth-file`, upstream apiserver `token/tokenfile`). It is read once, at the
//! start, as upstream does.

use super::{Authenticator, csv};
use crate::context::UserInfo;
use aws_lc_rs::digest::{SHA256, digest};
use futures::future::BoxFuture;
use http::request::Parts;
use kaji_api::Status;
use std::collections::HashMap;
use std::path::Path;

/// The authenticator.
pub(super) struct StaticTokens {
    /// By the token's hash: how long a look takes says nothing of the tokens.
    users: HashMap<[u8; 32], UserInfo>,
}

impl StaticTokens {
    /// From the text of a file: token, user, uid and, perhaps, groups with commas between them. The error is for people.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let mut users = HashMap::new();
        for (index, record) in csv::records(text)?.into_iter().enumerate() {
            let number = index + 1;
            let [token, name, uid, rest @ ..] = record.as_slice() else {
                let found = record.len();
                let wanted = "at least 3 columns (token, user name, user uid)";
                return Err(format!("token file '{}' must have {wanted}, found {found}", path.display()));
            };
            if token.is_empty() {
                tracing::warn!(file = %path.display(), record = number, "a record of the token file has no token");
                continue;
            }
            let groups = rest.first().map_or_else(Vec::new, |groups| groups.split(',').map(str::to_owned).collect());
            let user = UserInfo { name: name.clone(), uid: uid.clone(), groups, ..UserInfo::default() };
            if users.insert(hash(token), user).is_some() {
                tracing::warn!(file = %path.display(), record = number, "a token is in the token file twice; the last counts");
            }
        }
        Ok(StaticTokens { users })
    }
}

fn hash(token: &str) -> [u8; 32] {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl Authenticator for StaticTokens {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Option<UserInfo>, Status>> {
        super::by_bearer(self, request)
    }

    fn bearer(&self, token: &str) -> Option<UserInfo> {
        self.users.get(&hash(token)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StaticTokens, String> {
        StaticTokens::parse(Path::new("tokens.csv"), text)
    }

    #[test]
    fn tokens_name_users() {
        let tokens = parse("t1,jane,u1,\"dev,ops\"\n,nobody,u\nt2,joe,u2\nt1x,ann,,\"\"\nt2,jim,u3,one\n").unwrap();
        let user = |token: &str| tokens.bearer(token).map(|user| (user.name, user.uid, user.groups.join(" ")));
        let known = |name: &str, uid: &str, groups: &str| Some((name.to_owned(), uid.to_owned(), groups.to_owned()));
        for (token, expected) in [
            ("t1", known("jane", "u1", "dev ops")),
            ("t2", known("jim", "u3", "one")),
            ("t1x", known("ann", "", "")),
            ("", None),
            ("t", None),
        ] {
            assert_eq!(user(token), expected, "{token}");
        }
    }

    #[test]
    fn an_unusable_file_says_why() {
        let why = parse("t1,jane").err().unwrap();
        let wanted = "must have at least 3 columns (token, user name, user uid), found 2";
        assert_eq!(why, format!("token file 'tokens.csv' {wanted}"));
        assert!(parse("t1,ja\"ne,u").err().unwrap().contains("bare \" in non-quoted field"));
    }
}
