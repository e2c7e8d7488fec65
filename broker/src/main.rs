//! The `sealmq` program: all of it is in the library, where it can be tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    sealmq::cli::run(sealmq::daemon::serve)
}
