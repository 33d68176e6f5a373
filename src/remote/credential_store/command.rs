//! A key from a command: the way to the keyring of an operating system or to a cloud's secret manager.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use secrecy::zeroize::Zeroizing;

use super::error::StoreError;
use super::key::Key;
use super::lock::sleep;
use crate::plan::limits;

/// The first line that a command prints.
///
/// # Errors
/// [`StoreError::KeyCommand`]: it cannot be started, fails, takes longer than `wait`, or prints more than a key can be.
pub(super) fn first_line(command: &OsStr, wait: Duration) -> Result<Zeroizing<String>, StoreError> {
    let failed = |reason: String| StoreError::KeyCommand { reason };
    let mut child = start(command).map_err(|error| failed(format!("cannot be started: {error}")))?;
    let (output, errors) = (reader(child.stdout.take(), false), reader(child.stderr.take(), true));
    let status = ended(&mut child, wait).map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    let Some(status) = status else {
        // its readers end when it does, or what it started
        drop(child.kill().and_then(|()| child.wait()));
        return Err(failed(format!("did not end within {}", humantime::format_duration(wait))));
    };
    // what it has left running can keep its output open: that is not waited for
    let text = |from: &Receiver<Zeroizing<Vec<u8>>>| from.recv_timeout(AFTER_END).unwrap_or_default();
    let output = text(&output);
    if output.len() > limits::KEY_TEXT_BYTES_MAX {
        return Err(failed(format!("printed more than {} bytes", limits::KEY_TEXT_BYTES_MAX)));
    }
    if !status.success() {
        let said = excerpt(&String::from_utf8_lossy(&text(&errors)));
        let said = if said.is_empty() { said } else { format!(": {said}") };
        return Err(failed(format!("failed ({status}){said}")));
    }
    let output = std::str::from_utf8(&output).map_err(|_| failed("printed what is no text".to_owned()))?;
    Ok(Zeroizing::new(output.lines().next().unwrap_or_default().trim().to_owned()))
}

/// How long the output of a command that has ended is waited for.
const AFTER_END: Duration = Duration::from_secs(1);
/// Between two looks whether a command has ended.
const PAUSE: Duration = Duration::from_millis(5);

#[expect(
    clippy::disallowed_types,
    reason = "the one command that headwater runs is the one that a person names for the key"
)]
fn start(command: &OsStr) -> std::io::Result<Child> {
    std::process::Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Reads up to one byte more than is taken, on a thread of its own, so that neither output keeps the other waiting. With `all`, what comes
/// behind that is read too, and dropped: a command may say more than is kept of it.
fn reader(from: Option<impl Read + Send + 'static>, all: bool) -> Receiver<Zeroizing<Vec<u8>>> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::with_capacity(limits::KEY_TEXT_BYTES_MAX + 1));
        if let Some(mut from) = from {
            // what came before an error counts
            drop(from.by_ref().take(limits::KEY_TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
            if all {
                drop(std::io::copy(&mut from, &mut std::io::sink()));
            }
        }
        // nobody listens any more after a timeout
        drop(sender.send(bytes));
    });
    receiver
}

fn ended(child: &mut Child, wait: Duration) -> std::io::Result<Option<ExitStatus>> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if waited >= wait {
            return Ok(None);
        }
        sleep(PAUSE);
        waited += PAUSE;
    }
}

/// What a command says of its failure: on one line, not too long, and without what would be a key.
fn excerpt(said: &str) -> String {
    let is_key_char = |c: char| c.is_ascii_alphanumeric() || "+/-_".contains(c);
    let mut out = String::new();
    for word in said.split_inclusive(|c: char| !is_key_char(c)) {
        let text = word.trim_end_matches(|c: char| !is_key_char(c));
        let masked = if Key::parse(text).is_some() { "***" } else { text };
        out.extend(masked.chars().chain(word[text.len()..].chars()).map(|c| if c.is_control() { ' ' } else { c }));
    }
    out.trim().chars().take(limits::ERROR_BODY_BYTES_MAX / 4).collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn run(command: &str) -> Result<String, String> {
        let line = first_line(OsStr::new(command), limits::KEY_COMMAND_WAIT_MAX);
        line.map(|line| line.to_string()).map_err(|error| format!("{error}; {}", error.code()))
    }

    #[test]
    fn the_first_line_is_taken() {
        assert_eq!(run("echo one; echo two").as_deref(), Ok("one"));
        assert_eq!(run("printf ' one \\r\\n'").as_deref(), Ok("one"));
        assert_eq!(run("true").as_deref(), Ok(""));
        assert_eq!(run("cat").as_deref(), Ok(""), "nothing is there to be read");
        assert_eq!(run("head -c 100000 /dev/zero >&2 && echo one").as_deref(), Ok("one"), "much is said beside it");
        // what is left running is not waited for
        assert_eq!(run("sleep 5 >/dev/null 2>&1 & echo one").as_deref(), Ok("one"));
    }

    #[test]
    fn a_failure_says_what_the_command_said_and_no_key() {
        let key = Key::generate().expect("random").text();
        let key = key.expose_secret();
        let said = run(&format!("echo 'no such item' >&2; echo key={key}, >&2; exit 3")).expect_err("it fails");
        assert!(said.contains("failed (exit status: 3): no such item key"), "{said}");
        assert!(!said.contains(key) && said.ends_with("key_command"), "{said}");
        assert!(!run(&format!("echo '{key}' >&2; exit 1")).expect_err("it fails").contains(key));
        assert!(run("no-such-command-anywhere").expect_err("it fails").contains("not found"));
        assert!(run("head -c 100000 /dev/zero").expect_err("too much").contains("printed more than"));
        assert!(run("printf '\\377'").expect_err("bytes").contains("no text"));
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let error = first_line(OsStr::new("exec sleep 1000"), Duration::from_millis(20)).expect_err("too long");
        assert_eq!(error.to_string(), "the command in `HEADWATER_KEY_COMMAND` did not end within 20ms");
    }
}
