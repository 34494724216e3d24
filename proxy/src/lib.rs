//! The proxy library.
