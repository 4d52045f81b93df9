use super::*;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use der::SecretDocument;
use serde_json::{Value, json};

fn ec() -> String {
    kaji_pki::Key::generate().unwrap().to_pem().unwrap().to_string()
}

fn rsa() -> String {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let document = SecretDocument::try_from(pkcs8.as_ref()).unwrap();
    document.to_pem("PRIVATE KEY", der::pem::LineEnding::LF).unwrap().to_string()
}

/// Other forms of a key, by the tool that people use.
fn openssl(arguments: &str, input: &str) -> String {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut command = Command::new("openssl");
    command.args(arguments.split_whitespace()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "openssl {arguments}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn keys_of_all_forms_sign_and_open() {
    let claims = json!({"sub": "x"});
    let (ec, rsa) = (ec(), rsa());
    let table = [
        (openssl("ec", &ec), "ES256"),
        (openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", ""), "ES384"),
        (openssl("rsa -traditional", &rsa), "RS256"),
        (format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{ec}"), "ES256"),
        (ec, "ES256"),
        (rsa, "RS256"),
    ];
    for (pem, name) in table {
        let key = SigningKey::from_pem(pem.as_bytes()).unwrap();
        let keys = key.public();
        assert_eq!(keys.algorithms().into_iter().collect::<Vec<_>>(), [name]);
        let token = key.sign(&claims).unwrap();
        assert_eq!(keys.open::<Value>(&token).unwrap(), claims);
        let public = openssl("pkey -pubout", &pem);
        for pem in [&pem, &public] {
            let read = PublicKeys::from_pem(pem.as_bytes()).unwrap();
            assert!(key.is_among(&read), "{name} has one name in all forms");
            assert_eq!(read.open::<Value>(&token).unwrap(), claims);
        }
        let stranger = SigningKey::from_pem(super::tests::ec().as_bytes()).unwrap().public();
        assert_eq!(stranger.open::<Value>(&token).unwrap_err(), "invalid signature, no keys found");
        let mut forged = token.clone().into_bytes();
        let at = forged.iter().rposition(|b| *b == b'.').unwrap() - 2;
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        assert!(keys.open::<Value>(&String::from_utf8(forged).unwrap()).is_err());
    }
    assert!(SigningKey::from_pem(b"nonsense").is_err());
}

#[test]
fn a_file_may_hold_several_keys() {
    let (first, second) = (ec(), rsa());
    let file = format!("{}{second}", openssl("pkey -pubout", &first));
    let keys = PublicKeys::from_pem(file.as_bytes()).unwrap();
    for pem in [&first, &second] {
        let key = SigningKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(keys.open::<Value>(&key.sign(&json!({"a": 1})).unwrap()).unwrap(), json!({"a": 1}));
    }
    assert_eq!(keys.algorithms().into_iter().collect::<Vec<_>>(), ["ES256", "RS256"]);
    let kinds: Vec<Value> = keys.jwks().map(|jwk| serde_json::from_str(jwk).unwrap()).collect();
    assert_eq!((&kinds[0]["kty"], &kinds[1]["kty"]), (&json!("EC"), &json!("RSA")));
    assert_eq!(kinds[1]["e"], "AQAB");
    // The first private key signs, wherever it stands.
    assert!(SigningKey::from_pem(file.as_bytes()).unwrap().is_among(&keys));
    let none = PublicKeys::from_pem(b"").err().unwrap();
    assert_eq!(none, "data does not contain any valid RSA or ECDSA public keys");
}

#[test]
fn a_token_without_a_key_s_name_is_tried_with_all() {
    let (first, second) = (ec(), ec());
    let signer = SigningKey::from_pem(second.as_bytes()).unwrap();
    let unnamed = jsonwebtoken::encode(&Header::new(signer.public.algorithm()), &json!({"a": 1}), &signer.private);
    let file = format!("{first}{second}");
    let keys = PublicKeys::from_pem(file.as_bytes()).unwrap();
    assert_eq!(keys.open::<Value>(&unnamed.unwrap()).unwrap(), json!({"a": 1}));
}
