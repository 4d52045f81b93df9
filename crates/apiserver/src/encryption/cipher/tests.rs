//! Known answers were computed with Python's `cryptography` and, for secretbox, a plain implementation that gives
//! NaCl's own test vector.

use super::*;

const KEY: &str = "/registry/secrets/default/web";
const PLAIN: &[u8] = b"the plain form of a secret";

pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn secret(length: usize) -> Vec<u8> {
    (0..32u8).take(length).collect()
}

const NONCE: &str = "6465666768696a6b6c6d6e6f";

#[test]
fn aes_gcm_opens_what_others_sealed() {
    for (length, sealed) in [
        (16, "6e0a2b85ab6ed993f51e317ff4a70b8356a819dfe1ccbe28911bea83c21871aa57fa7b91fb85c8aec9ab"),
        (24, "9d00de5c22c36f51bdf1846e889fbbd1bb793fea89ec129de4379663b7b65bc956f8c51a9394524de946"),
        (32, "3c73bb46098537f750423987a8084a9224e2672af8099000c2a58831b0d1e929fc85bbd1ebd70eac9bf1"),
    ] {
        let sealed = hex(&format!("{NONCE}{sealed}"));
        let gcm = Gcm::new(&secret(length)).unwrap();
        assert_eq!(gcm.open(KEY, &sealed).unwrap(), PLAIN, "{length}");
        assert!(gcm.open("/registry/secrets/default/other", &sealed).is_err());
    }
}

#[test]
fn aes_cbc_opens_what_others_sealed() {
    let iv = "c8c9cacbcccdcecfd0d1d2d3d4d5d6d7";
    for (length, sealed) in [
        (16, "ae4b77e5d545ba1959aaa87933e6b95d3b42b963a608307c220aa4dfb1000bfc"),
        (24, "d1b6cdb50df06791eca115f425380d28e854de2ad1e3331a15d874db6668a909"),
        (32, "2924b0bd5c2eb2f0e9c8a1c6cdeeaa7929e9ad96aa0493d9356c1eb545267127"),
    ] {
        let cbc = Cbc::new(&secret(length)).unwrap();
        assert_eq!(cbc.open(&hex(&format!("{iv}{sealed}"))).unwrap(), PLAIN, "{length}");
    }
    let cbc = Cbc::new(&secret(32)).unwrap();
    assert_eq!(cbc.open(&[0; 15]).unwrap_err(), SHORT);
    assert_eq!(cbc.open(&[0; 17]).unwrap_err(), "the stored data is not a multiple of the block size");
}

#[test]
fn secretbox_opens_what_others_sealed() {
    let sealed = hex(
        "0a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021d4a8339dcca2c0097338707069fef64d5a168566345b87d03441f1d3d8c050\
         430643a88382d9dc131cb7",
    );
    let secretbox = Secretbox::new(&secret(32)).unwrap();
    assert_eq!(secretbox.open(&sealed).unwrap(), PLAIN);
    let mut out = Vec::new();
    secretbox.seal_with(sealed[..24].try_into().unwrap(), PLAIN, &mut out);
    assert_eq!(out, sealed);
}

#[test]
fn derived_keys_are_upstreams() {
    let sealed = hex(
        "32333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f50516465666768696a6b6c6d6e6f0da568c9978b0b0723e5d2\
         026c50f91ce489644761fc0d4aac406f3d1d8e10ae7a6e94de139e247be3fe",
    );
    assert_eq!(Derived::new(&secret(32)).unwrap().open(KEY, &sealed).unwrap(), PLAIN);
    assert!(Derived::new(&secret(31)).is_none());
}

#[test]
fn what_was_sealed_opens_and_what_was_changed_does_not() {
    type Seal = Box<dyn Fn(&[u8], &mut Vec<u8>)>;
    type Open = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, String>>;
    let pairs: [(Seal, Open); 3] = [
        (
            Box::new(|p, out| Gcm::new(&secret(32)).unwrap().seal(KEY, p, out)),
            Box::new(|s| Gcm::new(&secret(32)).unwrap().open(KEY, s)),
        ),
        (
            Box::new(|p, out| Secretbox::new(&secret(32)).unwrap().seal(p, out)),
            Box::new(|s| Secretbox::new(&secret(32)).unwrap().open(s)),
        ),
        (
            Box::new(|p, out| Derived::new(&secret(32)).unwrap().seal(KEY, p, out)),
            Box::new(|s| Derived::new(&secret(32)).unwrap().open(KEY, s)),
        ),
    ];
    for (seal, open) in pairs {
        for plain in [&b""[..], b"x", &[7; 1000]] {
            let mut sealed = Vec::new();
            seal(plain, &mut sealed);
            assert_eq!(open(&sealed).unwrap(), plain);
            for at in 0..sealed.len() {
                sealed[at] ^= 1;
                assert!(open(&sealed).is_err(), "byte {at} of {}", sealed.len());
                sealed[at] ^= 1;
            }
            assert!(open(&sealed[..sealed.len() - 1]).is_err());
        }
    }
    let cbc = Cbc::new(&secret(16)).unwrap();
    for plain in [&b""[..], &[7; 16], &[7; 1000]] {
        let mut sealed = Vec::new();
        cbc.seal(plain, &mut sealed);
        assert_eq!(cbc.open(&sealed).unwrap(), plain);
    }
}
