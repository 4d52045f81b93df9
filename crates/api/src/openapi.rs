//! OpenAPI v2 and v3 from the schema tables, descriptions included.
