//! What a fresh server makes by itself: system namespaces, default roles and bindings, priority classes, the `kubernetes` service.
