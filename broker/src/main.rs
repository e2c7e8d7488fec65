//! sealmq
fn main() {}
