use super::*;

const KEY: &str = "{name: key1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}";

fn parse(resources: &str) -> Result<Config, String> {
    let text =
        format!("kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources: {resources}\n");
    Config::parse(File::new("/etc/enc.yaml"), text.as_bytes())
}

#[test]
fn a_configuration_is_read() {
    let config = parse(&format!(
        "[{{resources: [secrets, '*.apps'], providers: [{{aesgcm: {{keys: [{KEY}]}}}}, \
         {{kms: {{apiVersion: v2, name: vault, endpoint: 'unix:///run/kms.sock', timeout: 5s}}}}, {{identity: {{}}}}]}}]"
    ))
    .unwrap();
    let (patterns, providers) = &config.resources[0];
    assert_eq!(patterns.iter().map(GroupPattern::shown).collect::<Vec<_>>(), ["secrets", "*.apps"]);
    assert_eq!(format!("{providers:?}"), "[AesGcm[\"key1\"], Kms(vault, unix:///run/kms.sock), Identity]");
}

#[test]
fn what_is_wrong_is_told_as_upstream_does() {
    let identity = |resources: &str| format!("[{{resources: {resources}, providers: [{{identity: {{}}}}]}}]");
    let provider = |provider: &str| format!("[{{resources: [secrets], providers: [{provider}]}}]");
    let kms = |fields: &str| provider(&format!("{{kms: {{{fields}}}}}"));
    for (given, expected) in [
        ("[]".to_owned(), "resources: Required value: at least one resources is required"),
        (
            "[{}]".to_owned(),
            "[resources[0].resources: Required value: at least one resources[0].resources is required, resources[0].providers: Required value: at least one resources[0].providers is required]",
        ),
        (
            identity("['*']"),
            "resources[0].resources[0]: Invalid value: \"*\": use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources",
        ),
        (
            identity("[Secrets]"),
            "resources[0].resources[0]: Invalid value: \"Secrets\": resource name should not contain capital letters",
        ),
        (
            identity("[secrets, secrets]"),
            "resources[0].resources: Invalid value: [\"secrets\",\"secrets\"]: the same resource cannot be specified multiple times",
        ),
        (
            identity("[secrets, '*.']"),
            "resources[0].resources: Invalid value: [\"secrets\",\"*.\"]: using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked",
        ),
        (
            identity("['pods.*']"),
            "resources[0].resources[0]: Invalid value: \"pods.*\": encrypting the same resource across groups is not supported",
        ),
        (
            identity("[events.events.k8s.io]"),
            "resources[0].resources[0]: Invalid value: \"events.events.k8s.io\": '*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file",
        ),
        (
            provider("{}"),
            "resources[0].providers[0]: Invalid value: {}: provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity",
        ),
        (
            provider("{identity: {}, aescbc: {keys: [{name: a, secret: c2VjcmV0}]}}"),
            "resources[0].providers[0]: Invalid value: {\"identity\":\"REDACTED\",\"aescbc\":\"REDACTED\"}: more than one provider specified in a single element, should split into different list elements",
        ),
        (
            provider("{aesgcm: {keys: []}}"),
            "resources[0].providers[0].aesgcm.keys: Required value: at least one keys is required",
        ),
        (
            provider("{aesgcm: {keys: [{name: a, secret: c2VjcmV0}]}}"),
            "resources[0].providers[0].aesgcm.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 6, expected one of [16 24 32]",
        ),
        (
            provider("{secretbox: {keys: [{secret: '%'}]}}"),
            "[resources[0].providers[0].secretbox.keys[0].name: Required value: name is a mandatory field for a key, resources[0].providers[0].secretbox.keys[0].secret: Invalid value: \"REDACTED\": secrets must be base64 encoded]",
        ),
        (
            kms("apiVersion: v2, name: 'a:b', endpoint: 'unix:///x'"),
            "resources[0].providers[0].kms.name: Invalid value: \"a:b\": invalid KMS provider name a:b, must not contain ':'",
        ),
        (
            kms("apiVersion: v2, name: a, endpoint: 'tcp://x'"),
            "resources[0].providers[0].kms.endpoint: Invalid value: \"tcp://x\": unsupported scheme \"tcp\" for KMS provider, only unix is supported",
        ),
        (
            kms("apiVersion: v2, name: a, endpoint: 'unix:///x', cachesize: 5"),
            "resources[0].providers[0].kms.cachesize: Invalid value: 5: cachesize is not supported in v2",
        ),
        (
            kms("apiVersion: v2, name: a, endpoint: 'unix:///x', timeout: 0s"),
            "resources[0].providers[0].kms.timeout: Invalid value: \"0s\": timeout should be a positive value",
        ),
        (
            "[{resources: ['*.*'], providers: [{identity: {}}]}, {resources: [secrets], providers: [{identity: {}}]}]"
                .to_owned(),
            "resource \"secrets\" is masked by earlier rule \"*.*\"",
        ),
        (
            "[{resources: [a], providers: [{identity: {}}], more: 1}]".to_owned(),
            "error decoding encryption provider configuration file \"/etc/enc.yaml\": strict decoding error: unknown field \"resources[0].more\"",
        ),
    ] {
        assert_eq!(parse(&given).unwrap_err(), expected, "{given}");
    }
    let empty = Config::parse(File::new("/etc/enc.yaml"), b"").unwrap_err();
    assert_eq!(empty, "encryption provider configuration file \"/etc/enc.yaml\" is empty");
}
