//! Calls of a store to other processes, as somebody else wants to see them: traces, mostly.

/// Wants to know of calls.
pub trait Calls: Send + Sync + 'static {
    /// A call of a method (`etcdserverpb.KV/Txn`) begins, in the task that needs it; none: this one is of no interest.
    fn begin(&self, method: &'static str) -> Option<Box<dyn Call>>;
}

/// A call under way. Dropped without an answer where nobody waits for one any longer.
pub trait Call: Send {
    /// Headers to send with it.
    fn headers(&self) -> Vec<(&'static str, String)>;
    /// So many bytes go to a server, by the address that was configured.
    fn sent(&self, bytes: usize, server: &str);
    /// So many bytes came back, or gRPC's code, in Go's word for it, and the server's text.
    fn answered(&self, answer: Result<usize, (String, &str)>);
}
