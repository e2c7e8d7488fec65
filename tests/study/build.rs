//! Tells the study which compiler it is built with, and the compiler which switches the crates have that are
//! compared.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The one by which the study knows itself; the crates read the others.
    println!("cargo::rustc-check-cfg=cfg(aes_backend, values(\"soft\"))");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output().map(|output| output.stdout);
    let version = said.map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    println!("cargo::rustc-env=STUDY_COMPILER={}", version.trim());
    println!("cargo::rustc-env=STUDY_PROFILE={}", std::env::var("PROFILE").unwrap_or_default());
}
