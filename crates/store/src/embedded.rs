//! The embedded backend: one redb file, one writer thread, one sync for all waiting writers.
