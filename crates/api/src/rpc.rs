//! gRPC's codes in Go's words, which texts and metrics show.

/// By number.
const WORDS: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// The word for a code; numbers that mean nothing are `Unknown`, as clients take them.
pub fn word(code: i32) -> &'static str {
    usize::try_from(code).ok().and_then(|code| WORDS.get(code)).unwrap_or(&"Unknown")
}

/// A failed call as Go shows it.
pub fn failure(code: i32, message: &str) -> String {
    format!("rpc error: code = {} desc = {message}", word(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_go_s_words() {
        assert_eq!(
            [0, 1, 4, 16, 17, -1].map(word),
            ["OK", "Canceled", "DeadlineExceeded", "Unauthenticated", "Unknown", "Unknown"]
        );
        assert_eq!(failure(5, "no such pod"), "rpc error: code = NotFound desc = no such pod");
    }
}
