//! What holds whatever bytes come: nothing panics, and keys are written as they were read. The fuzzer in `fuzz/` calls it
//! with anything.

use crate::{Authority, Key, Request, decode_request};
use der::Decode;
use der::pem::LineEnding;
use x509_cert::request::CertReq;

/// Keys, requests and certificates: as PEM, and as what stands inside of it.
pub fn certificates(data: &[u8]) {
    if let Ok(request) = CertReq::from_der(data) {
        let _ = Request::of(&request);
    }
    read(&String::from_utf8_lossy(data));
    for label in ["CERTIFICATE", "CERTIFICATE REQUEST", "PRIVATE KEY", "EC PRIVATE KEY"] {
        if let Ok(pem) = der::pem::encode_string(label, LineEnding::LF, data) {
            read(&pem);
        }
    }
}

fn read(pem: &str) {
    let _ = decode_request(pem);
    if let Ok(key) = Key::from_pem(pem) {
        let again = Key::from_pem(&key.to_pem().expect("PEM")).expect("our own key");
        assert_eq!(again.public_pem().ok(), key.public_pem().ok());
    }
    let key = Key::generate().and_then(|key| key.to_pem()).unwrap_or_default();
    let _ = Authority::from_pem(pem, &key);
}
