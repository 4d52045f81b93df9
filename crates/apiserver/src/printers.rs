//! Cells of the server-printed tables: columns are data, cells per resource (upstream `pkg/printers/internalversion`).
