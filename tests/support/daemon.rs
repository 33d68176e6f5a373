//! `headwater serve` as a process of its own, and a client of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Project;

/// A daemon, which is killed if a test fails.
pub struct Daemon {
    process: Child,
    address: Option<SocketAddr>,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let state = self.process.try_wait();
            #[expect(clippy::print_stderr, reason = "the test has failed: this says why")]
            {
                eprintln!("the daemon ({state:?}) said:\n{}", self.said());
            }
        }
        // it may be gone
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Daemon {
    /// One that answers nobody.
    pub fn start(project: &Project, environment: &[(&str, &str)]) -> Self {
        Self::spawn(project, &["serve"], environment)
    }

    /// One that answers on a port of its own.
    pub fn listen(project: &Project, environment: &[(&str, &str)]) -> Self {
        Self::listen_with(project, &[], environment)
    }

    /// The same, with more arguments.
    pub fn listen_with(project: &Project, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], more].concat();
        let mut daemon = Self::spawn(project, &arguments, environment);
        until("it answers", || {
            let said = daemon.said();
            let address = said.lines().find_map(|line| line.strip_prefix("answers at http://"));
            daemon.address = address.map(|address| address.parse().expect("an address"));
            let ended = daemon.process.try_wait().expect("its state");
            assert!(daemon.address.is_some() || ended.is_none(), "it has ended: {said}");
            daemon.address.is_some()
        });
        daemon
    }

    fn spawn(project: &Project, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = project.command(arguments);
        command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the program runs");
        let lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let told = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                told.lock().expect("not poisoned").push_str(&(line + "\n"));
            }
        });
        Self { process, address: None, said, reader: Some(reader) }
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("it listens")
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("not poisoned").clone()
    }

    /// Sends a signal, and waits for its end; gives its exit code.
    pub fn signal(&mut self, signal: &str) -> Option<i32> {
        let asked = Command::new("kill").arg(signal).arg(self.process.id().to_string()).status();
        assert!(asked.expect("kill runs").success());
        let code = self.process.wait().expect("it ends").code();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("all that it said");
        }
        code
    }

    /// Stops it as people do; gives what it said.
    pub fn stop(mut self) -> String {
        let code = self.signal("-TERM");
        let said = self.said();
        assert_eq!(code, Some(0), "{said}");
        said
    }

    /// Asks once, over a connection of its own.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        send(self.address(), method, target, headers, body).expect("an answer")
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// by their names in small letters
    pub headers: BTreeMap<String, String>,
    /// JSON, or a text where it is none
    pub body: Value,
}

/// Asks once, over a connection of its own; an error where nobody answers to the end.
pub fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(90)))?;
    let mut head = format!("{method} {target} HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += &format!("host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    // what is too large is refused before it is there
    drop(stream.write_all(body.as_bytes()));
    let text = read(&mut stream)?;
    let broken = || std::io::Error::other(format!("half an answer: {text}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(broken)?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    if headers.get("content-length").is_some_and(|length| length.parse() != Ok(body.len())) {
        return Err(broken());
    }
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
    Ok(Answer { status, headers, body })
}

/// Reads an answer to its end. Not everybody closes a connection that is said to be the last use of it.
fn read(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut bytes, mut piece, mut ends_at) = (Vec::new(), [0; 16 << 10], None);
    loop {
        let read = stream.read(&mut piece)?;
        bytes.extend_from_slice(&piece[..read]);
        if ends_at.is_none()
            && let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            ends_at = Some(length.and_then(|length| length.trim().parse::<usize>().ok()).map(|length| at + 4 + length));
        }
        if read == 0 || ends_at.flatten().is_some_and(|end| bytes.len() >= end) {
            return String::from_utf8(bytes).map_err(std::io::Error::other);
        }
    }
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
