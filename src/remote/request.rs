//! What is asked and what came back, as plain data. Secrets are named here and filled in only while a request is sent.

use std::sync::Arc;

use bytes::Bytes;
use url::Url;

use crate::plan::{Method, Template};

/// A request without its secrets: `Debug` and `Display` are safe to print.
#[derive(Debug, Clone)]
pub struct Request {
    /// the method
    pub method: Method,
    /// the URL with every parameter that is no secret
    pub url: Url,
    /// query parameters that hold secrets
    pub secret_query: Vec<(String, Secret)>,
    /// headers
    pub headers: Vec<(String, HeaderValue)>,
    /// the body and its content type
    pub body: Option<(String, Bytes)>,
}

impl std::fmt::Display for Request {
    /// `GET https://api.example.com/items?limit=100&key=***`: what the request itself knows, without what auth adds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.url)?;
        let mut separator = if self.url.query().is_some() { '&' } else { '?' };
        for (name, _) in &self.secret_query {
            write!(f, "{separator}{name}=***")?;
            separator = '&';
        }
        Ok(())
    }
}

/// A header's value.
#[derive(Debug, Clone)]
pub enum HeaderValue {
    /// as it stands
    Plain(String),
    /// filled in when sent
    Secret(Secret),
}

/// A template that names `credentials`, with everything else it needs.
#[derive(Clone)]
pub struct Secret {
    /// the template
    pub template: Arc<Template>,
    /// the other variables
    pub variables: minijinja::Value,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// An answer, whole. `Debug` shows nothing of what the server says, which may be a secret.
#[derive(Clone)]
pub struct Response {
    /// HTTP status
    pub status: u16,
    /// names are lowercase; those of one name in the order received; what is no UTF-8 is replaced
    pub headers: Vec<(String, String)>,
    /// decompressed, at most `limits::RESPONSE_BYTES_MAX`
    pub body: Bytes,
    /// where it came from, after redirects, without secrets
    pub url: Url,
    /// which token of the connection it was asked for with; 0 = none that was made
    pub token: u64,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, headers, body, url, token } = self;
        let (headers, body) = (headers.len(), body.len());
        write!(f, "Response {{ status: {status}, headers: {headers}, body: {body} bytes, url: {url}, token: {token} }}")
    }
}

impl Response {
    /// The first header of this (lowercase) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}
