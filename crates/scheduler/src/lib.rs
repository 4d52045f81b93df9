//! The scheduler: queue, snapshot, filter and score plugins, binding.
