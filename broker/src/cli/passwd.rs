//! `sealmq passwd`: a user's line in a password file.
//!
//! Always holds: every other line stays as it was, comments among them, and the file is seen old or new, never
//! in between.

use super::{CommandError, say};
use crate::auth::password;
use crate::auth::verifier::{ITERATIONS, ITERATIONS_DEFAULT};
use crate::error::StartError;
use crate::files;
use clap::Args;
use std::fs;
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// No password in MQTT is longer.
const PASSWORD_BYTES_MAX: usize = 65_535;

/// Sets a user's password, asked for on the terminal or read as one line from stdin.
#[derive(Debug, Args)]
#[command(after_help = "\
The broker reads the file named by auth.password_file at its start and on SIGHUP.

Examples:
  sealmq passwd passwd ann                 asks for the password, twice
  sealmq passwd passwd ann < secret.txt    reads it from a file
  sealmq passwd --no-scram passwd ann      keeps the slow hash and nothing else
  sealmq passwd --delete passwd ann")]
pub(super) struct PasswdArguments {
    /// Keep no SCRAM-SHA-256 verifier; whoever gets hold of one guesses faster than by the hash
    #[arg(long, conflicts_with = "delete")]
    no_scram: bool,
    /// How often SCRAM-SHA-256 hashes the password; the client pays for it at every connect
    #[arg(long, value_name = "N", default_value_t = ITERATIONS_DEFAULT, conflicts_with_all = ["delete", "no_scram"])]
    #[arg(value_parser = clap::value_parser!(u32).range(i64::from(*ITERATIONS.start())..=i64::from(*ITERATIONS.end())))]
    scram_iterations: u32,
    /// Delete the user instead
    #[arg(long)]
    delete: bool,
    /// The password file; made if it is missing
    file: PathBuf,
    /// The user's name
    user: String,
}

pub(super) fn run(arguments: &PasswdArguments) -> Result<(), CommandError> {
    let PasswdArguments { no_scram, scram_iterations, delete, file, user } = arguments;
    check_name(user)?;
    let iterations = (!no_scram).then_some(*scram_iterations);
    if *delete {
        set(file, user, None)?;
        return say(format!("{}: user {user} is deleted\n", file.display()).as_bytes());
    }
    if iterations.is_some() {
        check_scram_name(user)?;
    }
    let password = read_password(user)?;
    let credentials = password::credentials(&password, iterations).map_err(CommandError::Plain)?;
    set(file, user, Some(&credentials))?;
    say(format!("{}: the password of user {user} is set\n", file.display()).as_bytes())
}

/// Whether a name can stand in front of ':' in a line of its own.
fn check_name(user: &str) -> Result<(), CommandError> {
    let why = if user.trim().is_empty() {
        "it is empty"
    } else if user.contains(':') {
        "it contains ':', which ends the name in a password file"
    } else if user.contains(char::is_control) {
        "it contains a line break or another control character"
    } else if user.starts_with('#') {
        "it begins with '#', as comments do"
    } else {
        return Ok(());
    };
    Err(CommandError::Plain(format!("{user:?} cannot be a user name: {why}")))
}

/// Whether clients send this name as it is: they bring it into the form of `SASLprep` (RFC 5802 §5.1).
fn check_scram_name(user: &str) -> Result<(), CommandError> {
    if stringprep::saslprep(user).is_ok_and(|prepared| prepared == user) {
        return Ok(());
    }
    let why = "SASLprep (RFC 4013) changes it, so it does not do for SCRAM-SHA-256 (--no-scram)";
    Err(CommandError::Plain(format!("{user:?} cannot be a user name: {why}")))
}

/// Puts the user's line into the file in place of an older one, or takes it out.
fn set(file: &Path, user: &str, credentials: Option<&str>) -> Result<(), StartError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(why) if why.kind() == io::ErrorKind::NotFound && credentials.is_some() => String::new(),
        Err(why) => return Err(StartError::io(file, "read it", why)),
    };
    let is_users =
        |line: &str| password::is_entry(line) && line.split_once(':').is_some_and(|(name, _)| name == user);
    let mut lines: Vec<String> = Vec::new();
    let mut new = credentials.map(|credentials| format!("{user}:{credentials}"));
    let mut found = false;
    for line in text.lines() {
        if is_users(line) {
            found = true;
            lines.extend(new.take());
        } else {
            lines.push(line.to_owned());
        }
    }
    if credentials.is_none() && !found {
        return Err(StartError::file(file, format!("there is no user {user}")));
    }
    lines.extend(new);
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    files::replace(file, files::PRIVATE, text.as_bytes())
}

fn read_password(user: &str) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let password = if io::stdin().is_terminal() {
        ask(user)?
    } else {
        read_line(io::stdin().lock())
            .map_err(|why| CommandError::Stream { what: "cannot read stdin", why })?
    };
    if password.is_empty() {
        return Err(CommandError::Plain("the password is empty; nothing was changed".to_owned()));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(CommandError::Plain("the password has more than 65,535 bytes".to_owned()));
    }
    Ok(password)
}

fn ask(user: &str) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let prompt = |text: String| {
        let typed = rpassword::prompt_password(text);
        let typed = typed.map_err(|why| CommandError::Stream { what: "cannot read the password", why })?;
        Ok::<_, CommandError>(Zeroizing::new(typed.into_bytes()))
    };
    let password = prompt(format!("Password of {user}: "))?;
    if prompt("The same again: ".to_owned())? != password {
        return Err(CommandError::Plain("the two differ; nothing was changed".to_owned()));
    }
    Ok(password)
}

/// One line without its end; one byte more than is allowed at most.
fn read_line(input: impl BufRead) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX + 3));
    input.take(PASSWORD_BYTES_MAX as u64 + 3).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Auth;
    use bytes::Bytes;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn setting_and_deleting_keep_the_other_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwd");
        set(&file, "ann", Some("one")).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&file, "# ann: the first\n\nann:one\nbob:two").unwrap();
        for (user, hash, expected) in [
            ("ann", Some("three"), "# ann: the first\n\nann:three\nbob:two\n"),
            ("eve", Some("four"), "# ann: the first\n\nann:three\nbob:two\neve:four\n"),
            ("ann", None, "# ann: the first\n\nbob:two\neve:four\n"),
        ] {
            set(&file, user, hash).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), expected);
        }
        let error = set(&file, "ann", None).unwrap_err().to_string();
        assert!(error.ends_with("there is no user ann"), "{error}");
        assert!(set(&folder.path().join("none"), "ann", None).is_err());
    }

    #[tokio::test]
    async fn what_is_set_lets_the_user_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwd");
        set(&file, "ann", Some(&password::credentials(b"secret", None).unwrap())).unwrap();
        let config = sealmq_config::auth::Auth {
            allow_anonymous: false,
            password_file: Some(file),
            client_id_prefixes: Vec::new(),
        };
        let auth = Auth::load(&config).unwrap();
        let known = auth.check(Some("ann"), Some(Bytes::from_static(b"secret"))).await.unwrap();
        assert_eq!(known.user().unwrap(), "ann");
    }

    #[test]
    fn names_that_would_break_the_file_are_refused() {
        for name in ["", " ", "a:b", "a\nb", "a\r", "#a", "a\0"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["a", "ann b", "ä", "a#"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn names_that_clients_would_send_otherwise_get_no_verifier() {
        for (name, fits) in [("ann b", true), ("ä", true), ("a\u{308}", false), ("\u{2168}", false)] {
            assert_eq!(check_scram_name(name).is_ok(), fits, "{name:?}");
        }
    }

    #[test]
    fn one_line_is_read_without_its_end() {
        for (input, expected) in [
            ("secret\nmore", "secret"),
            ("secret\r\n", "secret"),
            ("secret", "secret"),
            (" s \n", " s "),
            ("\n", ""),
        ] {
            assert_eq!(*read_line(input.as_bytes()).unwrap(), expected.as_bytes(), "{input:?}");
        }
    }
}
