//! A request from its plan: templates filled in, secrets left to be filled in when it is sent.

use std::sync::Arc;

use bytes::Bytes;
use minijinja::Value;
use serde_json::{Map, Value as Json};
use url::Url;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::request::{HeaderValue, Request, Secret};
use crate::plan::{BodyPlan, Method, RequestPlan, Target, Template, TemplateError, ValuePlan, is_secret_name};

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// a template failed
    #[error("{place}: {error}")]
    Template {
        /// where it stands
        place: &'static str,
        /// how it failed
        error: TemplateError,
    },
    /// what came out is no URL
    #[error("`{url}` is not a URL")]
    Url {
        /// what came out
        url: String,
    },
}

/// A request while it is put together.
pub struct Draft {
    method: Method,
    url: Url,
    query: Vec<(String, String)>,
    secret_query: Vec<(String, Secret)>,
    headers: Vec<(String, HeaderValue)>,
    body: Body,
}

enum Body {
    None,
    Json(Json),
    Form(Vec<(String, String)>),
    Text(String),
    Multipart(Vec<(String, String)>),
}

impl Draft {
    /// Fills in the templates of a request. Those that name `credentials` go along as secrets, except in a body.
    ///
    /// # Errors
    /// A template that fails, or a URL that is none.
    pub fn new(base_url: &Url, request: &RequestPlan, variables: &Value) -> Result<Self, DraftError> {
        let path = request
            .path
            .render_path(variables)
            .map_err(|error| DraftError::Template { place: "request path", error })?;
        let text =
            if path.starts_with('/') { format!("{}{path}", base_url.as_str().trim_end_matches('/')) } else { path };
        let url = Url::parse(&text).map_err(|_| DraftError::Url { url: text })?;
        let secret =
            |template: &Template| Secret { template: Arc::new(template.clone()), variables: variables.clone() };
        let mut headers = Vec::with_capacity(request.headers.len());
        for (name, template) in &request.headers {
            if template.names("credentials") || (template.is_fixed() && is_secret_name(name)) {
                headers.push((name.clone(), HeaderValue::Secret(secret(template))));
            } else if let Some(text) =
                template.render(variables).map_err(|error| DraftError::Template { place: "request headers", error })?
            {
                headers.push((name.clone(), HeaderValue::Plain(text)));
            }
        }
        let (mut query, mut secret_query) = (Vec::new(), Vec::new());
        for (name, value) in &request.query {
            match value {
                ValuePlan::Template(template) if template.names("credentials") || template.is_fixed() => {
                    secret_query.push((name.clone(), secret(template)));
                }
                value => {
                    if let Some(value) = render(value, variables, "request query")? {
                        flatten(name, &value, &mut query);
                    }
                }
            }
        }
        let body = match &request.body {
            BodyPlan::None => Body::None,
            BodyPlan::Json(value) => Body::Json(render(value, variables, "request body")?.unwrap_or(Json::Null)),
            BodyPlan::Form(members) => {
                let mut form = Vec::new();
                for (name, value) in members {
                    if let Some(value) = render(value, variables, "request body")? {
                        flatten(name, &value, &mut form);
                    }
                }
                Body::Form(form)
            }
            BodyPlan::Text(template) => Body::Text(
                template
                    .render(variables)
                    .map_err(|error| DraftError::Template { place: "request body", error })?
                    .unwrap_or_default(),
            ),
            BodyPlan::Graphql { query, variables: members } => {
                let members = ValuePlan::Map(members.clone());
                let members = render(&members, variables, "graphql variables")?;
                Body::Json(serde_json::json!({ "query": query, "variables": members }))
            }
            BodyPlan::Multipart(templates) => {
                let mut fields = Vec::with_capacity(templates.len());
                for (name, template) in templates {
                    let text = template.render(variables);
                    let text = text.map_err(|error| DraftError::Template { place: "request body", error })?;
                    fields.extend(text.map(|text| (name.clone(), text)));
                }
                Body::Multipart(fields)
            }
        };
        Ok(Self { method: request.method, url, query, secret_query, headers, body })
    }

    /// Without any query parameters.
    pub fn clear_query(&mut self) {
        self.query.clear();
        self.secret_query.clear();
    }

    /// Puts a value in its place, over what the request says itself.
    pub fn put(&mut self, to: &Target, value: &Json) {
        match to {
            Target::Query(name) => {
                self.query.retain(|(known, _)| known != name);
                self.query.push((name.clone(), text_of(value)));
            }
            Target::Header(name) => {
                self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                self.headers.push((name.clone(), HeaderValue::Plain(text_of(value))));
            }
            Target::Body(dotted) => match &mut self.body {
                Body::Json(body) => insert(body, dotted, value.clone()),
                Body::Form(form) => {
                    form.retain(|(known, _)| known != dotted);
                    form.push((dotted.clone(), text_of(value)));
                }
                Body::None | Body::Text(_) | Body::Multipart(_) => {}
            },
        }
    }

    /// Sets a variable of a GraphQL request.
    pub fn variable(&mut self, name: &str, value: Json) {
        if let Body::Json(body) = &mut self.body {
            insert(body, &format!("variables.{name}"), value);
        }
    }

    /// The request; `next` is the API's own URL for it, which already says everything that is no secret.
    pub fn finish(self, next: Option<Url>) -> Request {
        let url = match next {
            Some(url) => url,
            None => {
                let mut url = self.url;
                if !self.query.is_empty() {
                    url.query_pairs_mut().extend_pairs(&self.query);
                }
                url
            }
        };
        let form = |pairs: &[(String, String)]| {
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
        };
        let body = match &self.body {
            Body::None => None,
            Body::Json(value) => Some(("application/json".to_owned(), value.to_string())),
            Body::Form(pairs) => Some(("application/x-www-form-urlencoded".to_owned(), form(pairs))),
            Body::Text(text) => Some(("text/plain; charset=utf-8".to_owned(), text.clone())),
            Body::Multipart(fields) => Some(multipart(fields)),
        };
        Request {
            method: self.method,
            url,
            secret_query: self.secret_query,
            headers: self.headers,
            body: body.map(|(kind, text)| (kind, Bytes::from(text))),
        }
    }
}

/// `multipart/form-data` (RFC 7578): its content type and the body. The boundary is made of the content, so that the same request
/// is the same bytes, and stands in none of the fields.
fn multipart(fields: &[(String, String)]) -> (String, String) {
    let mut seed = fields
        .iter()
        .fold(0, |seed, (name, text)| xxh3_64_with_seed(text.as_bytes(), seed ^ xxh3_64_with_seed(name.as_bytes(), 1)));
    let mut boundary = format!("headwater-{seed:016x}");
    while fields.iter().any(|(name, text)| text.contains(&boundary) || name.contains(&boundary)) {
        seed = xxh3_64_with_seed(boundary.as_bytes(), seed);
        boundary = format!("headwater-{seed:016x}");
    }
    let mut body = String::new();
    for (name, text) in fields {
        // HTML's way to write a name, which RFC 7578 section 5.1 leaves to the sender
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        body += &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
    }
    body += &format!("--{boundary}--\r\n");
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// A value with its templates filled in; what yields none is left out. `place` says in an error where it stands.
///
/// # Errors
/// A template that fails.
pub fn render(value: &ValuePlan, variables: &Value, place: &'static str) -> Result<Option<Json>, DraftError> {
    Ok(match value {
        ValuePlan::Fixed(value) => Some(value.clone()),
        ValuePlan::Template(template) => {
            template.value(variables).map_err(|error| DraftError::Template { place, error })?
        }
        ValuePlan::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                list.extend(render(item, variables, place)?);
            }
            Some(Json::Array(list))
        }
        ValuePlan::Map(members) => {
            let mut map = Map::new();
            for (name, item) in members {
                if let Some(item) = render(item, variables, place)? {
                    map.insert(name.clone(), item);
                }
            }
            Some(Json::Object(map))
        }
    })
}

/// A query or form value: a list repeats its name.
fn flatten(name: &str, value: &Json, pairs: &mut Vec<(String, String)>) {
    match value {
        Json::Array(items) => items.iter().for_each(|item| pairs.push((name.to_owned(), text_of(item)))),
        value => pairs.push((name.to_owned(), text_of(value))),
    }
}

fn text_of(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Puts a value at a dotted place, making the maps on the way.
fn insert(body: &mut Json, dotted: &str, value: Json) {
    let mut node = body;
    let mut names = dotted.split('.').peekable();
    while let Some(name) = names.next() {
        if !node.is_object() {
            *node = Json::Object(Map::new());
        }
        let Json::Object(map) = node else { return };
        if names.peek().is_none() {
            map.insert(name.to_owned(), value);
            return;
        }
        node = map.entry(name.to_owned()).or_insert(Json::Null);
    }
}
