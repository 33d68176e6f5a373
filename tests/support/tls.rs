//! A server with TLS on a loopback port, and the certificates that it and its clients show.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

/// One who vouches for certificates.
pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Certified {
    pub certificate: String,
    pub key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Certified {
    fn new(params: &CertificateParams, issuer: Option<&Issuer<'static, KeyPair>>) -> Self {
        let key = KeyPair::generate().expect("a key");
        let made = match issuer {
            Some(issuer) => params.signed_by(&key, issuer),
            None => params.self_signed(&key),
        };
        let made = made.expect("a certificate");
        Self {
            certificate: made.pem(),
            key: key.serialize_pem(),
            der: made.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// One that nobody vouches for; or one who vouches for others shows the own one, as simple tools make it.
    pub fn self_signed(host: &str, as_authority: bool) -> Self {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
        if as_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        Self::new(&params, None)
    }
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        // two of one name would be taken for each other
        let name: String = key.public_key_raw().iter().map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name.push(DnType::CommonName, &name[..60]);
        let made = params.self_signed(&key).expect("a certificate");
        Self { pem: made.pem(), der: made.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn certify(&self, host: &str) -> Certified {
        self.certify_with(host, |_| ())
    }

    pub fn certify_with(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Certified {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
        change(&mut params);
        Certified::new(&params, Some(&self.issuer))
    }
}

/// Whether a server asks its clients for a certificate.
pub enum Asks<'a> {
    Nobody,
    /// it takes one of this authority if it is given
    Whoever(&'a Authority),
    /// there is no way in without
    Everybody(&'a Authority),
}

/// The server; it answers every request with the same JSON, and ends when it is dropped.
pub struct TlsApi {
    port: u16,
    ended: Arc<AtomicBool>,
    /// for each request: its first line, and whether it came with a certificate
    asked: Arc<Mutex<Vec<(String, bool)>>>,
}

impl TlsApi {
    pub fn start(certified: &Certified, asks: &Asks<'_>, body: &str) -> Self {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        Self::says(certified, asks, &[], format!("{head}{body}").into_bytes())
    }

    /// One that answers with these bytes in this protocol (ALPN, RFC 7301).
    pub fn says(certified: &Certified, asks: &Asks<'_>, protocol: &[u8], bytes: Vec<u8>) -> Self {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let verifier = |authority: &Authority| {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der.clone()).expect("an authority");
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        };
        let builder = match asks {
            Asks::Nobody => builder.with_no_client_auth(),
            Asks::Whoever(authority) => builder
                .with_client_cert_verifier(verifier(authority).allow_unauthenticated().build().expect("a verifier")),
            Asks::Everybody(authority) => {
                builder.with_client_cert_verifier(verifier(authority).build().expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::try_from(certified.key_der.clone()).expect("a key");
        let mut config = builder.with_single_cert(vec![certified.der.clone()], key).expect("a certificate");
        config.alpn_protocols = (!protocol.is_empty()).then(|| protocol.to_vec()).into_iter().collect();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("bound").port();
        let (ended, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stop, log, bytes) = (Arc::clone(&ended), Arc::clone(&asked), Arc::new(bytes));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (config, log, bytes) = (Arc::clone(&config), Arc::clone(&log), Arc::clone(&bytes));
                std::thread::spawn(move || serve(stream, config, &log, &bytes).ok());
            }
        });
        Self { port, ended, asked }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL, by name.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub fn asked(&self) -> Vec<(String, bool)> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

impl Drop for TlsApi {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // wakes the listener, which then ends
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    log: &Mutex<Vec<(String, bool)>>,
    bytes: &[u8],
) -> std::io::Result<()> {
    let mut connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tcp = stream;
    if let Err(error) = connection.complete_io(&mut tcp) {
        // the alert must arrive: a socket that is closed with bytes unread takes back what it has sent
        connection.write_tls(&mut tcp).ok();
        tcp.shutdown(std::net::Shutdown::Write).ok();
        std::io::copy(&mut tcp, &mut std::io::sink()).ok();
        return Err(error);
    }
    let certified = connection.peer_certificates().is_some_and(|chain| !chain.is_empty());
    let mut stream = rustls::StreamOwned::new(connection, tcp);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    log.lock().expect("not poisoned").push((line, certified));
    if stream.conn.alpn_protocol().is_some() {
        // HTTP/2: the rest of the preface, then frames up to the one that is the request
        stream.read_exact(&mut [0; 6])?;
        let mut frame = [0; 9];
        while frame[3] != 1 {
            stream.read_exact(&mut frame)?;
            let length = u64::from(u32::from_be_bytes([0, frame[0], frame[1], frame[2]]));
            std::io::copy(&mut (&mut stream).take(length), &mut std::io::sink())?;
        }
    }
    stream.write_all(bytes)?;
    stream.flush()?;
    if stream.conn.alpn_protocol().is_some() {
        // the connection stays, and the other side ends it
        return std::io::copy(&mut stream, &mut std::io::sink()).map(drop);
    }
    stream.conn.send_close_notify();
    stream.flush()
}
