//! A scripted HTTP server: a function from request to reply, with full say over the bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// path and query as they were sent
    pub target: String,
    /// without the query
    pub path: String,
    /// decoded pairs, in order
    pub query: Vec<(String, String)>,
    /// lowercase names
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// the same where it is no text
    pub bytes: Vec<u8>,
}

impl Request {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Method, target and body on one line, for lists of what was asked.
    pub fn line(&self) -> String {
        let body = if self.body.is_empty() { String::new() } else { format!(" {}", self.body) };
        format!("{} {}{body}", self.method, self.target)
    }

    /// A number in the query, or `default`.
    pub fn number(&self, name: &str, default: usize) -> usize {
        self.param(name).map_or(default, |text| text.parse().expect("a number"))
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// send only so many bytes of the body, then close
    pub cut: Option<usize>,
    /// send the body so many times as chunks, without saying how long it all is
    pub chunks: Option<usize>,
    /// send what this writes, as chunks
    pub written: Option<Written>,
}

/// Writes a body while it is sent.
#[derive(Clone)]
pub struct Written(Arc<dyn Fn(&mut dyn Write) -> std::io::Result<()> + Send + Sync>);

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Written")
    }
}

/// Each piece is a chunk.
struct Chunked<'w>(&'w mut TcpStream);

impl Write for Chunked<'_> {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        if !piece.is_empty() {
            write!(self.0, "{:x}\r\n", piece.len())?;
            self.0.write_all(piece)?;
            self.0.write_all(b"\r\n")?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Reply {
    pub fn json(value: &serde_json::Value) -> Self {
        Self::text("application/json", &value.to_string())
    }

    pub fn text(kind: &str, body: &str) -> Self {
        Self::bytes(kind, body.as_bytes())
    }

    pub fn bytes(kind: &str, body: &[u8]) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".into(), kind.into())],
            body: body.to_vec(),
            cut: None,
            chunks: None,
            written: None,
        }
    }

    /// A body that is written while it is sent; an error of the writer cuts it.
    pub fn written(kind: &str, write: impl Fn(&mut dyn Write) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        Self { written: Some(Written(Arc::new(write))), chunks: Some(0), ..Self::text(kind, "") }
    }

    pub fn status(status: u16, body: &str) -> Self {
        Self { status, ..Self::text("application/json", body) }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn cut_at(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    pub fn in_chunks(mut self, times: usize) -> Self {
        self.chunks = Some(times);
        self
    }
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server; it ends when it is dropped.
pub struct Api {
    port: u16,
    ended: Arc<AtomicBool>,
    answer: Arc<Mutex<Arc<Answer>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Api {
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("bound").port();
        let (ended, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let answer: Arc<Mutex<Arc<Answer>>> = Arc::new(Mutex::new(Arc::new(answer)));
        let (stop, log, current) = (Arc::clone(&ended), Arc::clone(&requests), Arc::clone(&answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (current, log) = (Arc::clone(&current), Arc::clone(&log));
                let Ok(stream) = stream else { continue };
                // a client that goes away in the middle is no failure of the server
                std::thread::spawn(move || serve(stream, &current, &log).ok());
            }
        });
        Self { port, ended, answer, requests }
    }

    /// From now on it answers this way: the API has broken, or healed, or its data has changed.
    pub fn becomes(&self, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        *self.answer.lock().expect("not poisoned") = Arc::new(answer);
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("not poisoned").clone()
    }

    /// The requests since this was asked last, as lines.
    pub fn asked(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").drain(..).map(|request| request.line()).collect()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // wakes the listener, which then ends
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(stream: TcpStream, current: &Mutex<Arc<Answer>>, log: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    // head and body are written one after the other: without this each answer waits 40 ms for an acknowledgement
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(request) = read(&mut reader)? {
        log.lock().expect("not poisoned").push(request.clone());
        let answer = Arc::clone(&current.lock().expect("not poisoned"));
        let Reply { status, headers, body, cut, chunks, written } = answer(&request);
        let length = match chunks {
            Some(_) => "transfer-encoding: chunked".to_owned(),
            None => format!("content-length: {}", body.len()),
        };
        let mut head = format!("HTTP/1.1 {status} X\r\n{length}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        writer.write_all(format!("{head}\r\n").as_bytes())?;
        if let Some(Written(write)) = written {
            let ended = write(&mut Chunked(&mut writer));
            if ended.is_err() {
                return writer.shutdown(Shutdown::Both);
            }
        }
        if let Some(times) = chunks {
            for _ in 0..times {
                write!(writer, "{:x}\r\n", body.len())?;
                writer.write_all(&body)?;
                writer.write_all(b"\r\n")?;
            }
            writer.write_all(b"0\r\n\r\n")?;
            continue;
        }
        writer.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())])?;
        writer.flush()?;
        if cut.is_some() {
            return writer.shutdown(Shutdown::Both);
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().unwrap_or(0);
        }
        headers.push((name, value));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let url = url::Url::parse(&format!("http://x{target}")).expect("a target");
    Ok(Some(Request {
        method,
        target,
        path: url.path().to_owned(),
        query: url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        bytes: body,
    }))
}
