use super::*;

const NONE: &[&str] = &[];

/// Texts that each check takes, and texts that it refuses.
#[test]
fn taken_and_refused() {
    let long = |n: usize| "a".repeat(n);
    let cases: &[(Check, &[&str], &[&str])] = &[
        (dns1123_label, &["a", "a-b", "0", &long(63)], &["", "-a", "a-", "A", "a.b", "a_b", "é", &long(64)]),
        (dns1123_subdomain, &["a", "a.b-c.0", &long(253)], &["", "a..b", ".a", "a.", "A.b", "a.-b", &long(254)]),
        (dns1123_subdomain_caseless, &["Example.COM"], &["", "A_b"]),
        (dns1123_subdomain_with_underscore, &["_a.b_c.d", "a"], &["__a", "a_", "A", ""]),
        (dns1035_label, &["a", "a0-b"], &["0a", "", "a.b"]),
        (wildcard_dns1123_subdomain, &["*.a.b"], &["*", "*.*.a", "a.b", "*a.b"]),
        (
            qualified_name,
            &["a", "A_b.c-1", "example.com/A"],
            &["", "/a", "a/", "a/b/c", "A.com/x", "-a", &long(64), "a b"],
        ),
        (label_value, &["", "a", "A_b.c"], &["-a", "a b", &long(64)]),
        (path_segment, &["", "system:node", "a b"], &[".", "..", "a/b", "a%b"]),
        (path_segment_prefix, &[".", ".."], &["/"]),
        (c_identifier, &["_a1", "A"], &["", "1a", "a-b"]),
        (port_name, &["http", "a-1"], &["", "1", "a--b", "-a", "a-", "A", "abcdefghijklmnop"]),
        (http_header_name, &["X-A"], &["", "X_A", "X A"]),
        (relaxed_env_var_name, &["a b", "1"], &["", "a=b", "é", "\n"]),
        (env_var_name, &["A.b-c_1"], &["", "1a", "..", "..a", "a b"]),
        (config_map_key, &["a", ".a", "A_b"], &["", ".", "..", "..a", "a/b", &long(254)]),
        (percent, &["5%", "100%"], &["", "%", "5", "5.5%", "-5%"]),
        (decimal_integer, &["0", "-1", "10"], &["", "-0", "01", "+1", "-", "1a"]),
        (fully_qualified_name, &["a.b.c"], &["a.b", "A.b.c"]),
        (fully_qualified_domain_name, &["a.b", "a.b."], &["a", "a.b.."]),
        (domain_prefixed_path, &["a.io/b/c"], &["a.io", "/b", "a.io/", "a.io/b c"]),
        (domain_prefixed_key, &["a.io/B"], &["b", "a/b/c"]),
        (ip, &["1.2.3.4", "::1", "2001:db8::ffff"], &["", "01.2.3.4", "::ffff:1.2.3.4", "0::1", "1.2.3", "+1.2.3.4"]),
        (ip_legacy, &["1.2.3.4", "0:0::1"], &["1.2.3.04", "x"]),
        (cidr, &["10.0.0.0/8", "fd00::/8"], &["10.0.0.1/8", "10.0.0.0/08", "10.0.0.0/33", "10.0.0.0", "fd00:0::/8"]),
        (interface_address, &["10.0.0.1/8", "fd00::1/64"], &["10.0.0.1", "10.0.0.01/8"]),
    ];
    for (at, (check, fine, wrong)) in cases.iter().enumerate() {
        for s in *fine {
            assert_eq!(check(s), NONE, "check {at}, {s:?}");
        }
        for s in *wrong {
            assert_ne!(check(s), NONE, "check {at}, {s:?}");
        }
    }
}

/// Whole texts as clients see them.
#[test]
fn wordings() {
    assert_eq!(
        dns1123_label("A"),
        ["a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
          end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
          '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]
    );
    assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
    assert_eq!(dns1123_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
    assert_eq!(
        dns1123_subdomain("x_y"),
        ["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
          start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
          '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]
    );
    assert_eq!(label_value(&"a".repeat(64)), ["must be no more than 63 bytes"]);
    assert_eq!(
        qualified_name("/"),
        [
            "prefix part must be non-empty",
            "name part must be non-empty",
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        ]
    );
    assert!(
        qualified_name("a/b/c")[0]
            .ends_with("[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")
    );
    assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
    assert_eq!(path_segment("a/%"), ["may not contain '/'", "may not contain '%'"]);
    assert_eq!(ip("0::1"), ["must be in canonical form (\"::1\")"]);
    assert_eq!(
        ip_warnings("spec.ip", "010.0.0.1"),
        ["spec.ip: non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\""]
    );
    assert_eq!(
        cidr_warnings("x", "10.1.0.0/8"),
        ["x: CIDR value \"10.1.0.0/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.1.0.0/32\"?)"]
    );
    assert_eq!(
        cidr_warnings("x", "::ffff:10.0.0.0/104"),
        ["x: non-standard CIDR value \"::ffff:10.0.0.0/104\" is invalid: use \"10.0.0.0/8\""]
    );
}

#[test]
fn prefixes() {
    assert_eq!(with_prefix(dns1123_label, "web-"), NONE);
    assert_eq!(with_prefix(dns1123_label, "w--"), NONE);
    assert_ne!(with_prefix(dns1123_label, "-"), NONE);
    assert_ne!(with_prefix(dns1123_label, "Web-"), NONE);
    assert_ne!(dns1123_label("web-"), NONE);
}

#[test]
fn sloppy_addresses() {
    assert_eq!(parse_ip_sloppy("010.00.0.01"), "10.0.0.1".parse().ok());
    assert_eq!(parse_ip_sloppy("::00001"), "::1".parse().ok());
    assert_eq!(parse_ip_sloppy("::ffff:01.2.3.4"), "::ffff:1.2.3.4".parse().ok());
    assert_eq!(parse_ip_sloppy("1.2.3.256"), None);
    assert_eq!(parse_cidr_sloppy("1.2.3.4/032"), Some(("1.2.3.4".parse().unwrap(), 32)));
    assert_eq!(parse_cidr_sloppy("1.2.3.4/"), None);
}
