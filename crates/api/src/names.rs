//! Forms of names (apimachinery `util/validation`, `api/validation`): each check gives upstream's texts of
//! what is wrong, none when all is well.

/// `a lowercase RFC 1123 label must consist of …`
pub fn dns1123_label(_s: &str) -> Vec<String> {
    unimplemented!()
}

/// `a lowercase RFC 1123 subdomain must consist of …`
pub fn dns1123_subdomain(_s: &str) -> Vec<String> {
    unimplemented!()
}

/// `a DNS-1035 label must consist of …`
pub fn dns1035_label(_s: &str) -> Vec<String> {
    unimplemented!()
}

/// Label and annotation keys: `name part must consist of …`
pub fn qualified_name(_s: &str) -> Vec<String> {
    unimplemented!()
}

/// Label values: `a valid label must be an empty string or consist of …`
pub fn label_value(_s: &str) -> Vec<String> {
    unimplemented!()
}

/// `may not be '.'`, `may not contain '/'`: names that are path segments (RBAC).
pub fn path_segment(_s: &str) -> Vec<String> {
    unimplemented!()
}
