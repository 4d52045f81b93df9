//! Image names: `nginx` is short for `docker.io/library/nginx:latest`.

/// A name taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Familiar {
    /// Registry and repository: `docker.io/library/nginx`.
    pub repository: String,
    /// The tag, `latest` where neither tag nor digest was given.
    pub tag: Option<String>,
    /// `sha256:…`.
    pub digest: Option<String>,
}

impl std::fmt::Display for Familiar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The full form of a name; the error is upstream's reason.
pub fn normalize(name: &str) -> Result<Familiar, String> {
    let problem = |what: &str| format!("couldn't parse image name {name:?}: {what}");
    let (rest, digest) = match name.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.to_owned())),
        None => (name, None),
    };
    if digest.as_deref().is_some_and(|digest| !valid_digest(digest)) {
        return Err(problem("invalid reference format"));
    }
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (path, tag) = match rest[slash..].rfind(':') {
        Some(colon) => (&rest[..slash + colon], Some(rest[slash + colon + 1..].to_owned())),
        None => (rest, None),
    };
    if tag.as_deref().is_some_and(|tag| !valid_tag(tag)) {
        return Err(problem("invalid reference format"));
    }
    let (domain, remainder) = match path.split_once('/') {
        Some((domain, remainder)) if domain.contains(['.', ':']) || domain == "localhost" || has_upper(domain) => {
            (domain, remainder.to_owned())
        }
        _ => ("docker.io", path.to_owned()),
    };
    if has_upper(&remainder) {
        return Err(problem("invalid reference format: repository name must be lowercase"));
    }
    if remainder.is_empty() || !remainder.split('/').all(valid_component) || domain.contains(['_', ' ']) {
        return Err(problem("invalid reference format"));
    }
    let domain = if domain == "index.docker.io" { "docker.io" } else { domain };
    let library = domain == "docker.io" && !remainder.contains('/');
    let repository = if library { format!("{domain}/library/{remainder}") } else { format!("{domain}/{remainder}") };
    let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
    Ok(Familiar { repository, tag, digest })
}

/// Whether a name can be an image's.
pub fn validate(name: &str) -> Result<(), String> {
    normalize(name).map(drop)
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_uppercase())
}

/// Lower-case words joined by `.`, `_`, `__` or dashes.
fn valid_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |b: Option<&u8>| b.is_some_and(|b| word(*b));
    let bytes = part.as_bytes();
    let joined = !part.contains("..") && !part.contains("___") && !part.contains("._") && !part.contains("_.");
    ends(bytes.first()) && ends(bytes.last()) && joined && bytes.iter().all(|b| word(*b) || b"._-".contains(b))
}

fn valid_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    bytes.first().is_some_and(|b| word(*b))
        && bytes.len() <= 128
        && bytes.iter().all(|b| word(*b) || *b == b'.' || *b == b'-')
}

fn valid_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_filled_up() {
        for (short, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("me/app", "docker.io/me/app:latest"),
            ("localhost/app:v1", "localhost/app:v1"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("host:5000/a/b", "host:5000/a/b:latest"),
        ] {
            assert_eq!(normalize(short).map(|n| n.to_string()), Ok(full.to_owned()));
        }
    }

    #[test]
    fn impossible_names_are_refused() {
        for name in ["", "UPPER", "a b", "nginx:", "nginx:-x", "a//b", "nginx@sha256:12", "-a"] {
            assert!(normalize(name).is_err(), "{name} was accepted");
        }
        let reason = normalize("a/Case").unwrap_err();
        assert!(reason.contains("couldn't parse image name"), "{reason}");
    }
}
