//! The controllers, one module each: a pure `plan`, and a `reconcile` that carries it out.
