//! The rules of the sources that a machine can check.
