//! Libraries that stand between the broker and the system: `clock.c` moves the time of day, `fail.c` fails a
//! sync, `power.c` notes what was synced. Built by the tests with `cc`, once for each run of them.

use crate::harness::{Setup, broker::binary};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Which library.
#[derive(Debug, Clone, Copy)]
pub(super) enum Library {
    /// The time of day.
    Clock,
    /// A failed sync.
    Fail,
    /// What a power cut leaves.
    Power,
}

impl Library {
    fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Fail => "fail",
            Self::Power => "power",
        }
    }

    /// The library, built.
    fn file(self) -> PathBuf {
        static BUILT: OnceLock<[PathBuf; 3]> = OnceLock::new();
        let built = BUILT.get_or_init(|| [Self::Clock, Self::Fail, Self::Power].map(Self::build));
        built[self as usize].clone()
    }

    fn build(self) -> PathBuf {
        let folder = binary().with_file_name("preload");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{}.so", self.name()));
        let new = folder.join(format!("{}.{}", self.name(), std::process::id()));
        let source = format!("{}/durability/preload/{}.c", env!("CARGO_MANIFEST_DIR"), self.name());
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&new).arg(source);
        let built = cc.status().expect("these tests need a C compiler: tests/run installs one");
        assert!(built.success(), "{cc:?}");
        // Another run of the tests may be using the one that is there.
        std::fs::rename(&new, &file).unwrap();
        file
    }
}

/// A broker with this library before it, which is told something.
pub(super) fn preloaded(setup: Setup, library: Library, variable: &str, value: &str) -> Setup {
    setup.env("LD_PRELOAD", library.file().to_str().unwrap()).env(variable, value)
}

/// As if so many seconds had passed before the broker is started.
pub(super) fn later(setup: Setup, seconds: u32) -> Setup {
    preloaded(setup, Library::Clock, "TEST_LATER_S", &seconds.to_string())
}
