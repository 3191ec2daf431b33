//! A process killed while it commits.
