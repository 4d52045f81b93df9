//! Who this server is towards another: what a kubeconfig says of a user.

use super::RemoteError;
use super::tls::{Identity, Pem};
use base64::prelude::*;
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use kaji_api::Value;
use std::path::{Path, PathBuf};

const IMPERSONATED: [(&str, &str); 2] = [("as", "impersonate-user"), ("as-uid", "impersonate-uid")];

/// A client certificate, a word in `Authorization`, perhaps in somebody else's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    identity: Option<Identity>,
    token_file: Option<PathBuf>,
    /// Counts where there is no file, or it cannot be read.
    authorization: Option<HeaderValue>,
    impersonated: Vec<(HeaderName, HeaderValue)>,
}

impl User {
    /// From the entry of a kubeconfig; relative paths are relative to `dir`. The error names the field.
    pub(crate) fn read(user: &Value, dir: &Path) -> Result<Self, String> {
        for field in ["exec", "auth-provider"] {
            if user.get(field).is_some_and(|told| !told.is_null()) {
                return Err(format!("{field} is not supported here"));
            }
        }
        let pem = |field: &str| {
            let inline = format!("{field}-data");
            match (user[inline.as_str()].str(), user[field].str()) {
                ("", "") => Ok(None),
                ("", path) => Ok(Some(Pem::File(dir.join(path)))),
                (data, _) => {
                    BASE64_STANDARD.decode(data).map(|pem| Some(Pem::Inline(pem))).map_err(|e| format!("{inline}: {e}"))
                }
            }
        };
        let identity = match (pem("client-certificate")?, pem("client-key")?) {
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err("client-key is missing beside client-certificate".to_owned()),
            (None, Some(_)) => return Err("client-certificate is missing beside client-key".to_owned()),
        };
        let token_file = Some(user["tokenFile"].str()).filter(|path| !path.is_empty()).map(|path| dir.join(path));
        let authorization = match (user["token"].str(), user["username"].str(), user["password"].str()) {
            ("", "", "") => None,
            ("", name, password) if token_file.is_none() => {
                Some(secret("Basic", &BASE64_STANDARD.encode(format!("{name}:{password}")))?)
            }
            (token, "", "") => Some(secret("Bearer", token)?),
            _ => return Err("username/password or bearer token may be set, but not both".to_owned()),
        };
        Ok(User { identity, token_file, authorization, impersonated: impersonated(user)? })
    }

    /// The certificate to show.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Says in a request's headers who sends it. A token that others renew is read each time.
    pub(super) async fn sign(&self, headers: &mut HeaderMap) -> Result<(), RemoteError> {
        let authorization = match &self.token_file {
            None => self.authorization.clone(),
            Some(path) => {
                let unusable = |why: String| RemoteError::File { path: path.clone(), why };
                match tokio::fs::read_to_string(path).await {
                    Ok(token) => Some(secret("Bearer", token.trim()).map_err(unusable)?),
                    Err(_) if self.authorization.is_some() => self.authorization.clone(),
                    Err(error) => return Err(unusable(error.to_string())),
                }
            }
        };
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        for (name, value) in &self.impersonated {
            headers.append(name, value.clone());
        }
        Ok(())
    }
}

/// A word that no log shows.
fn secret(scheme: &str, word: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(&format!("{scheme} {word}")).map_err(|_| "not fit for a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn impersonated(user: &Value) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    let mut add = |name: &str, field: &str, value: &str| {
        let name = name.parse::<HeaderName>().map_err(|_| format!("{field}: not fit for a header"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("{field}: not fit for a header"))?;
        headers.push((name, value));
        Ok::<_, String>(())
    };
    if user["as"].str().is_empty() {
        return Ok(headers);
    }
    for (field, header) in IMPERSONATED {
        if !user[field].str().is_empty() {
            add(header, field, user[field].str())?;
        }
    }
    for group in user["as-groups"].items() {
        add("impersonate-group", "as-groups", group.str())?;
    }
    for (key, values) in user["as-user-extra"].entries() {
        let name = format!("impersonate-extra-{}", escaped(key));
        for value in values.items() {
            add(&name, "as-user-extra", value.str())?;
        }
    }
    Ok(headers)
}

/// Keys of extra facts may hold what header names may not (client-go `headerKeyEscape`).
pub(crate) fn escaped(key: &str) -> String {
    let mut out = String::new();
    for byte in key.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => out.push(char::from(byte)),
            b'!' | b'#' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::codec::parse_yaml;

    fn read(text: &str) -> Result<User, String> {
        User::read(&parse_yaml(text.as_bytes()).unwrap(), Path::new("/etc/x"))
    }

    async fn signed(text: &str) -> Vec<String> {
        let mut headers = HeaderMap::new();
        read(text).unwrap().sign(&mut headers).await.unwrap();
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[tokio::test]
    async fn requests_say_who_sends_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "fresh\n").unwrap();
        let file = file.display();
        for (text, expected) in [
            ("{}".to_owned(), vec![]),
            ("token: t".to_owned(), vec!["authorization: Bearer t"]),
            (format!("{{tokenFile: {file}, token: t}}"), vec!["authorization: Bearer fresh"]),
            ("{tokenFile: /nowhere, token: t}".to_owned(), vec!["authorization: Bearer t"]),
            ("{username: a, password: b}".to_owned(), vec!["authorization: Basic YTpi"]),
            (
                "{token: t, as: jane, as-uid: u, as-groups: [a, b], as-user-extra: {acme.com/x: [z]}}".to_owned(),
                vec![
                    "authorization: Bearer t",
                    "impersonate-user: jane",
                    "impersonate-uid: u",
                    "impersonate-group: a",
                    "impersonate-group: b",
                    "impersonate-extra-acme.com%2fx: z",
                ],
            ),
        ] {
            assert_eq!(signed(&text).await, expected, "{text}");
        }
        let lost = read("tokenFile: /nowhere").unwrap();
        let why = lost.sign(&mut HeaderMap::new()).await.unwrap_err().to_string();
        assert!(why.starts_with("/nowhere is unusable: "), "{why}");
    }

    #[test]
    fn what_is_wrong_with_a_user_is_named() {
        for (text, why) in [
            ("exec: {command: x}", "exec is not supported here"),
            ("auth-provider: {name: x}", "auth-provider is not supported here"),
            ("client-certificate: a", "client-key is missing beside client-certificate"),
            ("client-key-data: YQ==", "client-certificate is missing beside client-key"),
            ("{token: a, username: b}", "username/password or bearer token may be set, but not both"),
            ("{tokenFile: a, username: b}", "username/password or bearer token may be set, but not both"),
            ("token: \"a\\nb\"", "not fit for a header"),
        ] {
            assert_eq!(read(text).unwrap_err(), why, "{text}");
        }
        assert!(
            read("{client-certificate-data: '%', client-key: a}").unwrap_err().starts_with("client-certificate-data: ")
        );
        let user = read("{client-certificate: a.crt, client-key-data: YQ==}").unwrap();
        let expected = Identity { certificate: Pem::File("/etc/x/a.crt".into()), key: Pem::Inline(b"a".to_vec()) };
        assert_eq!(user.identity(), Some(&expected));
    }
}
