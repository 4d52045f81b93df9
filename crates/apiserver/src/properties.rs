//! What holds whatever bytes come: nothing panics, and what was understood is written so that it is understood again.
//!
//! Each function takes one input, which it may refuse. Tests call them with mutated samples, the fuzzers in `fuzz/`
//! with anything.

pub use crate::audit::properties::{audit_policy, kubeconfig};
pub use crate::authn::properties::tokens;
pub use crate::custom::properties::{definitions, json_paths};
pub use crate::encryption::properties::{encryption_configuration, sealed};
pub use crate::pipeline::properties::requests;
pub use crate::registry::properties::objects;
pub use crate::spdy::properties::spdy;
pub use crate::subresource::stream::properties::websocket;
pub use crate::subresource::stream::proxy::properties::pages;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    /// The same inputs in every run: looking for new ones is what the fuzzers do.
    const REPEATABLE: RngSeed = RngSeed::Fixed(1);

    /// Samples, each changed in a few places.
    fn mutated(samples: &[&[u8]], pieces: &'static [&'static [u8]], property: fn(&[u8])) {
        let samples: Vec<Vec<u8>> = samples.iter().map(|sample| sample.to_vec()).collect();
        let change = || (any::<u32>(), any::<u8>(), prop::sample::select(pieces), 0..4u8);
        let inputs = (prop::sample::select(samples), prop::collection::vec(change(), 0..6));
        let config =
            ProptestConfig { failure_persistence: None, rng_seed: REPEATABLE, ..ProptestConfig::with_cases(1_000) };
        let outcome = proptest::test_runner::TestRunner::new(config).run(&inputs, |(sample, changes)| {
            let mut bytes = sample;
            for (at, byte, piece, how) in changes {
                let at = at as usize % bytes.len().max(1);
                let end = (at + usize::from(byte)).min(bytes.len());
                match how {
                    0 if at < bytes.len() => bytes[at] = byte,
                    1 => drop(bytes.drain(at..end)),
                    2 => drop(bytes.splice(at..at, bytes[at..end].to_vec()).collect::<Vec<_>>()),
                    _ => drop(bytes.splice(at..at, piece.iter().copied()).collect::<Vec<_>>()),
                }
            }
            property(&bytes);
            Ok(())
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// One of the fuzzer's first inputs.
    macro_rules! seed {
        ($path:literal) => {
            include_bytes!(concat!("../../../fuzz/seeds/", $path)).as_slice()
        };
    }

    /// Pieces of JSON.
    const VALUES: &[&[u8]] = &[
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"\"\"",
        b"[null]",
        b"-1",
        b"1e9",
        b"9223372036854775807",
        b"0.5",
        b"\"",
        b"}",
        b",",
        b"\xff",
        b"\0",
        b"\"-1Ki\"",
        b"\"\xc3\xa9\"",
    ];
    const YAML: &[&[u8]] = &[b"[]", b"{}", b"null", b"'*'", b"*.", b": ", b"- ", b"\n", b"&a ", b"*a", b"-1", b"\xff"];

    #[test]
    fn encryption_configurations() {
        let samples: &[&[u8]] = &[
            b"kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources: [{resources: [secrets, \
              '*.apps'], providers: [{aesgcm: {keys: [{name: key1, secret: \
              AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}}, {kms: {apiVersion: v2, name: vault, endpoint: \
              'unix:///run/kms.sock', timeout: 5s}}, {identity: {}}]}]\n",
            b"kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources: [{resources: ['*.*'], \
              providers: [{secretbox: {keys: [{name: a, secret: '%'}]}}, {aescbc: {keys: []}}]}]\n",
        ];
        mutated(samples, YAML, super::encryption_configuration);
    }

    #[test]
    fn audit_policies() {
        let samples: &[&[u8]] = &[
            b"apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- {level: None, users: \
              [a], verbs: [watch]}\n- {level: Request, resources: [{group: '', resources: [pods/*, '*/scale'], \
              resourceNames: [x]}]}\n- {level: Metadata, nonResourceURLs: ['/api*', '*'], omitManagedFields: false}\n",
        ];
        mutated(samples, YAML, super::audit_policy);
    }

    #[test]
    fn kubeconfigs() {
        let samples: &[&[u8]] = &[
            b"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: \
              {server: 'http://127.0.0.1:1/x', certificate-authority-data: AAAA}}]\nusers: [{name: u, user: {token: \
              t, username: n, password: p, client-certificate-data: AAAA, client-key-data: AAAA}}]\n",
        ];
        mutated(samples, YAML, super::kubeconfig);
    }

    #[test]
    fn requests() {
        let samples: &[&[u8]] = &[
            b"GET\n/apis/apps/v1/namespaces/x/deployments/d/scale\nwatch=1&limit=5&fieldSelector=metadata.name%3Da\n\
              application/json;as=Table;v=v1;g=meta.k8s.io,application/json;q=0.1\nv4.channel.k8s.io",
            b"PATCH\n/api/v1/watch/namespaces/x/pods\nlabelSelector=a+in+(b)&resourceVersionMatch=Exact&timeout=1m30s\n*/*\n",
            b"POST\n/api/v1/namespaces/n/pods/p/exec\ncommand=a&stdin=1&tailLines=9&sinceTime=2024-02-29T12:00:00Z&\
              continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0\n\n",
        ];
        let pieces: &[&[u8]] =
            &[b"/", b"//", b"..", b"%2F", b"%", b"%zz", b"&", b"=", b"+", b";", b",", b"q=", b"\xc3\xa9", b"\n"];
        mutated(samples, pieces, super::requests);
    }

    #[test]
    fn frames() {
        let frames = crate::spdy::properties::sample();
        let pieces: &'static [&'static [u8]] =
            &[b"\x80\x03\x00\x01", b"\x00\x00\x00\x01", b"\x01\xff\xff\xff", b"\xff\xff", b"\0"];
        mutated(&[&frames], pieces, super::spdy);
    }

    #[test]
    fn messages() {
        let message = |opcode: u8, payload: &[u8]| {
            // Masked with zeroes.
            [&[0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
        };
        let sample =
            [message(2, b"\0stdin"), message(1, b"0c3RkaW4="), message(2, b"\xff\x00"), message(8, b"")].concat();
        let pieces: &[&[u8]] =
            &[b"\x82\xfe\xff\xff", b"\x82\xff\x7f\xff\xff\xff", b"\x89\x80", b"\xff", b"\0", b"\x01\x80"];
        mutated(&[&sample], pieces, super::websocket);
    }

    #[test]
    fn tokens() {
        let samples: &[&[u8]] = &[seed!("tokens/claims"), seed!("tokens/compact")];
        let pieces: &[&[u8]] =
            &[b".", b"Bearer ", b" ", b"null", b"[]", b"\"", b"-1", b"1e400", b"9223372036854775807"];
        mutated(samples, pieces, super::tokens);
    }

    #[test]
    fn values_of_the_store() {
        let samples: &[&[u8]] = &[seed!("sealed/gcm"), seed!("sealed/cbc"), seed!("sealed/plain")];
        mutated(samples, &[b"k8s:enc:", b"kms:v2:", b"secretbox:v1:k:", b":", b"\x02", b"\0"], super::sealed);
    }

    #[test]
    fn pages() {
        let pieces: &[&[u8]] =
            &[b"<!--", b"-->", b"<a ", b"</script", b"<script", b"'", b"\"", b"=", b">", b"<", b"\x1f\x8b"];
        mutated(&[seed!("pages/links")], pieces, super::pages);
    }

    #[test]
    fn json_paths() {
        let samples: &[&[u8]] = &[
            seed!("json_paths/filter"),
            seed!("json_paths/slice"),
            seed!("json_paths/union"),
            seed!("json_paths/descend"),
            seed!("json_paths/wild"),
        ];
        let pieces: &[&[u8]] =
            &[b"..", b"[*]", b"[?(@.", b")]", b"['", b"[-1]", b"[::0]", b",", b"\\", b"\xc3\xa9", b"\0"];
        mutated(samples, pieces, super::json_paths);
    }

    #[test]
    fn definitions() {
        let samples: &[&[u8]] = &[seed!("definitions/thing"), seed!("definitions/two"), seed!("definitions/none")];
        mutated(samples, VALUES, super::definitions);
    }

    #[test]
    fn objects() {
        let mut samples = vec![seed!("objects/pod").to_vec(), seed!("objects/service").to_vec()];
        samples.extend([seed!("objects/cron").to_vec(), seed!("objects/scaler").to_vec()]);
        samples.extend(observed());
        let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
        mutated(&samples, VALUES, super::objects);
    }

    /// What upstream was seen to make of created objects, where that is at hand.
    fn observed() -> Vec<Vec<u8>> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/reference/observed/created.json");
        let text = std::fs::read(path).unwrap_or_default();
        let all: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap_or_default();
        all.iter().map(|case| case["response"].to_string().into_bytes()).collect()
    }
}
