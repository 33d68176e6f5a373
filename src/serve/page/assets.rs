//! The style sheet, the script and the icon. Their addresses have a digest of them, so they may be kept for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};

use crate::plan::hex;

/// What is served beside the pages.
pub(super) struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

pub(super) const STYLE: Asset =
    Asset { name: "style.css", kind: "text/css; charset=utf-8", text: include_str!("templates/style.css") };
pub(super) const SCRIPT: Asset =
    Asset { name: "script.js", kind: "text/javascript; charset=utf-8", text: include_str!("templates/script.js") };
pub(super) const ICON: Asset =
    Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("templates/icon.svg") };

static ADDRESSES: LazyLock<[(String, Asset); 3]> =
    LazyLock::new(|| [STYLE, SCRIPT, ICON].map(|asset| (asset.address(), asset)));

impl Asset {
    /// Where it is: `/assets/<digest>/style.css`.
    pub(super) fn address(&self) -> String {
        let digest = hex(digest(&SHA256, self.text.as_bytes()));
        format!("/assets/{}/{}", &digest[..16], self.name)
    }
}

/// `GET /assets/{digest}/{name}`
pub(super) async fn asset(Path((digest, name)): Path<(String, String)>) -> Response {
    let wanted = format!("/assets/{digest}/{name}");
    let Some((_, asset)) = ADDRESSES.iter().find(|(address, _)| *address == wanted) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = asset.text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}
