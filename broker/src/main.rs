//! The `sealmq` program: all of it is in the library, where it can be tested.

use std::process::ExitCode;

/// A message is allocated by the publisher's thread and freed by the receiver's; the system's
/// allocator takes a lock for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sealmq::cli::run(sealmq::daemon::serve)
}
