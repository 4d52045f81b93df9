//! Names derived from content: FNV-1a in upstream's alphabet that spells no words.

use serde::Serialize;

const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u32 {
    bytes.into_iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A number's digits in the safe alphabet.
fn safe(number: u32) -> String {
    number.to_string().bytes().map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])).collect()
}

/// The hash of a value's JSON; a collision count makes another one of it.
pub(crate) fn of(value: &impl Serialize, collisions: Option<i32>) -> String {
    let json = serde_json::to_vec(value).expect("Kubernetes types have a JSON form");
    let tail = collisions.map(|n| u64::from(n.unsigned_abs()).to_le_bytes());
    safe(fnv1a(json.into_iter().chain(tail.into_iter().flatten())))
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_vectors() {
        assert_eq!(super::fnv1a(*b""), 0x811c_9dc5);
        assert_eq!(super::fnv1a(*b"foobar"), 0xbf9c_f968);
        assert_eq!(super::safe(1_234_567_890), "56789bcdf4");
    }
}
