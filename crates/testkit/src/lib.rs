//! In-process clusters, builders and bounded waits for tests.
