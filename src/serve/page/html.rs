//! Pages out of templates, which escape whatever is put into them; and pages that say why there is none.

use std::sync::LazyLock;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Value, json};

use super::assets;
use super::session::Visitor;
use crate::serve::answer::Denied;

/// What answers with a page: itself, or why not.
pub(super) type Shown = Result<Response, Problem>;

/// No template says `safe`: what is HTML stands in the templates.
pub(super) const TEMPLATES: [(&str, &str); 14] = [
    ("frame.html", include_str!("templates/frame.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("login.html", include_str!("templates/login.html")),
    ("problem.html", include_str!("templates/problem.html")),
    ("overview.html", include_str!("templates/overview.html")),
    ("sync.html", include_str!("templates/sync.html")),
    ("reset.html", include_str!("templates/reset.html")),
    ("connections.html", include_str!("templates/connections.html")),
    ("tables.html", include_str!("templates/tables.html")),
    ("records.html", include_str!("templates/records.html")),
    ("logs.html", include_str!("templates/logs.html")),
    ("run.html", include_str!("templates/run.html")),
    ("files.html", include_str!("templates/files.html")),
    ("file.html", include_str!("templates/file.html")),
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    // a name that nobody gives is a mistake of a template, which tests find
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // an error would quote what the template was given
    environment.set_debug(false);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text).expect("the templates of the binary are whole");
    }
    environment
});

/// A page of a template. `visitor` is who sees it; `page` has what the template names, and `title`.
pub(super) fn page(template: &str, visitor: Option<&Visitor>, page: &Value) -> Shown {
    let can = |of: fn(&Visitor) -> bool| visitor.is_some_and(of);
    let frame = json!({
        "style": assets::STYLE.address(), "script": assets::SCRIPT.address(), "icon": assets::ICON.address(),
        "known": visitor.is_some(), "csrf": visitor.map(|visitor| visitor.csrf.as_str()),
        "said": visitor.and_then(|visitor| visitor.said.as_deref()),
        "sees": can(Visitor::sees), "reads": can(Visitor::reads), "steers": can(Visitor::steers),
    });
    let text = ENVIRONMENT
        .get_template(template)
        .and_then(|template| template.render(minijinja::value::Serde(json!({ "frame": frame, "page": page }))))
        .map_err(|error| Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    Ok(Html(text).into_response())
}

/// Why there is no page.
#[derive(Debug)]
pub(super) struct Problem(Denied);

impl<D: Into<Denied>> From<D> for Problem {
    fn from(denied: D) -> Self {
        Self(denied.into())
    }
}

/// What an answer tells in place of a page.
#[derive(Clone)]
struct Told(Value);

/// The answer with the frame of the pages of `visitor`, where it tells why there is no page.
pub(super) fn framed(mut response: Response, visitor: &Visitor) -> Response {
    let Some(Told(told)) = response.extensions_mut().remove() else { return response };
    let Ok(framed) = page("problem.html", Some(visitor), &told) else { return response };
    // a page of another length
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = framed.into_body();
    response
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Denied { status, message, hint, retry_after, .. } = self.0;
        let title = status.canonical_reason().unwrap_or("Error");
        let told = json!({ "title": title, "nav": "", "message": message, "hint": hint });
        let mut response = match page("problem.html", None, &told) {
            Ok(response) => response,
            Err(Self(denied)) => denied.message.into_response(),
        };
        response.extensions_mut().insert(Told(told));
        *response.status_mut() = status;
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
