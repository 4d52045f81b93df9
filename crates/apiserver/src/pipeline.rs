//! The life of a request, outermost layer first; one layer per file.
