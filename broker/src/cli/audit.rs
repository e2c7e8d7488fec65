//! `sealmq audit`: whether the record of refusals and keys is as the broker wrote it.

use super::numbers::{counted, grouped};
use super::store::PlaceOptions;
use super::{CommandError, ServeOptions, complain, say};
use crate::audit::verify::{self, Broken, Part, Verified};
use crate::error::StartError;
use clap::{Args, Subcommand};
use sealmq_config::audit::Audit;
use std::fmt::Write;
use std::path::PathBuf;

/// Looks at the audit, of a broker that runs or of one that does not.
#[derive(Debug, Args)]
pub(super) struct AuditArguments {
    #[command(flatten)]
    place: PlaceOptions,
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Follow the chain of hashes through all lines; ends with 1 where it breaks
    Verify(VerifyArguments),
}

#[derive(Debug, Args)]
struct VerifyArguments {
    /// Hash of a line that has to be there, as an earlier run has printed it
    #[arg(long, value_name = "HASH", value_parser = hash)]
    expect: Option<String>,
    /// Files to verify, in any order, instead of those in the data folder
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// 64 hexadecimal digits.
fn hash(text: &str) -> Result<String, String> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { Ok(text.to_lowercase()) } else { Err("a hash has 64 hexadecimal digits".to_owned()) }
}

pub(super) fn run(arguments: &AuditArguments, before: ServeOptions) -> Result<(), CommandError> {
    let AuditCommand::Verify(VerifyArguments { expect, files }) = &arguments.command;
    let (name, parts) = if files.is_empty() {
        let folder = Audit::folder(&arguments.place.load(before)?.data_dir);
        let parts = verify::of_folder(&folder).map_err(|why| StartError::io(&folder, "read it", why))?;
        if parts.is_empty() {
            return Err(StartError::file(&folder, "there is no audit here").into());
        }
        (folder.display().to_string(), parts)
    } else {
        let open = |file: &PathBuf| Part::open(file).map_err(|why| StartError::io(file, "read it", why));
        let parts = files.iter().map(open).collect::<Result<_, _>>()?;
        (counted(files.len() as u64, "file"), parts)
    };
    let failed = |why| CommandError::Plain(format!("{name}: the audit cannot be read: {why}"));
    match verify::verify(parts, expect.as_deref()).map_err(failed)? {
        Ok(verified) => say(text(&name, &verified).as_bytes()),
        Err(Broken { file, line, why }) => {
            complain(&format!("{}:{line}: {why}", file.display()));
            Err(CommandError::Told)
        }
    }
}

fn text(name: &str, verified: &Verified) -> String {
    let Verified { lines, first, last_at, head, lost, torn_bytes } = verified;
    let mut text = format!("{name}: {}, the chain holds\n", counted(*lines, "line"));
    // A String takes whatever is written.
    if let (Some((n, at)), Some(head)) = (first, head) {
        let _ = writeln!(text, "first {} {at}", grouped(*n));
        let _ = writeln!(text, "last  {} {last_at}", grouped(head.n));
        if *n > 1 {
            let _ = writeln!(text, "what was before {} is not there any more", grouped(*n));
        }
        if *lost > 0 {
            let _ = writeln!(text, "{} could not be recorded", counted(*lost, "event"));
        }
    }
    if *torn_bytes > 0 {
        let _ =
            writeln!(text, "the last line is not whole: {} are passed over", counted(*torn_bytes, "byte"));
    }
    if let Some(head) = head {
        let _ = writeln!(text, "hash of the last: {}", head.hash);
    }
    text
}
