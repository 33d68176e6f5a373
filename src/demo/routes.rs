//! The shop's endpoints.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::data::Customer;
use super::server::{API_KEY, Shared};

/// Records on a page whose size was not asked for.
const PAGE_DEFAULT: usize = 50;

type Answer = Result<Json<Value>, Problem>;

/// An answer that is not what was asked for.
struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": { "code": self.code, "message": self.message } }));
        (self.status, body).into_response()
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        bad_parameter(rejection.body_text())
    }
}

/// All of the shop's routes.
pub(super) fn routes(shared: Arc<Shared>) -> Router {
    let lists = Router::new()
        .route("/v1/customers", get(customers))
        .route("/v1/orders", get(orders))
        .route("/v1/order-lines", get(order_lines))
        .layer(from_fn_with_state(Arc::clone(&shared), throttle));
    Router::new()
        .merge(lists)
        .route("/demo/advance", post(advance))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&shared), authenticate))
        .with_state(shared)
}

async fn authenticate(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let key = request.headers().get("x-api-key");
    if key.is_some_and(|key| key.as_bytes() == API_KEY.as_bytes()) {
        return next.run(request).await;
    }
    let message = if key.is_some() { "the API key is not known" } else { "the header `X-Api-Key` is missing" };
    problem(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response()
}

async fn throttle(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let passes = shared.throttle.lock().unwrap_or_else(PoisonError::into_inner).passes(target);
    if passes {
        return next.run(request).await;
    }
    shared.throttled.fetch_add(1, Ordering::Relaxed);
    let problem = problem(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests, come back in a second");
    ([(header::RETRY_AFTER, "1")], problem).into_response()
}

#[derive(Deserialize)]
struct CustomersQuery {
    limit: Option<usize>,
    cursor: Option<String>,
    updated_since: Option<String>,
    sort: Option<String>,
}

async fn customers(State(shared): State<Arc<Shared>>, query: Result<Query<CustomersQuery>, QueryRejection>) -> Answer {
    let Query(CustomersQuery { limit, cursor, updated_since, sort }) = query?;
    if sort.is_some_and(|sort| sort != "updated_at") {
        return Err(bad_parameter("`sort` must be `updated_at`".to_owned()));
    }
    let limit = page_size("limit", limit, shared.page_max)?;
    let since = updated_since.as_deref().map(moment).transpose()?;
    let after = cursor.as_deref().map(read_cursor).transpose()?;
    let shop = shared.shop();
    let is_before = |customer: &Customer| {
        since.is_some_and(|since| customer.updated_at < since)
            || after.as_ref().is_some_and(|(at, id)| (customer.updated_at, &customer.id) <= (*at, id))
    };
    let rest = &shop.customers[shop.customers.partition_point(is_before)..];
    let page = &rest[..limit.min(rest.len())];
    let has_more = page.len() < rest.len();
    let next = page.last().filter(|_| has_more).map(write_cursor);
    Ok(Json(json!({ "data": page, "paging": { "next": next, "has_more": has_more } })))
}

#[derive(Deserialize)]
struct OrdersQuery {
    page: Option<usize>,
    per_page: Option<usize>,
}

async fn orders(State(shared): State<Arc<Shared>>, query: Result<Query<OrdersQuery>, QueryRejection>) -> Answer {
    let Query(OrdersQuery { page, per_page }) = query?;
    let size = page_size("per_page", per_page, shared.page_max)?;
    let number = page.unwrap_or(1);
    let Some(before) = number.checked_sub(1) else {
        return Err(bad_parameter("`page` starts at 1".to_owned()));
    };
    let shop = shared.shop();
    let total = shop.orders.len();
    let start = before.saturating_mul(size).min(total);
    let page = &shop.orders[start..start.saturating_add(size).min(total)];
    Ok(Json(json!({ "orders": page, "page": number, "total_pages": total.div_ceil(size), "total": total })))
}

#[derive(Deserialize)]
struct OrderLinesQuery {
    limit: Option<usize>,
    after: Option<u64>,
}

async fn order_lines(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<OrderLinesQuery>, QueryRejection>,
) -> Answer {
    let Query(OrderLinesQuery { limit, after }) = query?;
    let limit = page_size("limit", limit, shared.page_max)?;
    let shop = shared.shop();
    // a line that has vanished since still marks its place
    let rest = &shop.lines[shop.lines.partition_point(|line| after.is_some_and(|after| line.id <= after))..];
    let page = &rest[..limit.min(rest.len())];
    Ok(Json(json!({ "lines": page, "has_more": page.len() < rest.len() })))
}

/// Not a part of the shop that a sync would see: it lets whoever plays with the sample make time pass.
async fn advance(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "generation": shared.advance() }))
}

async fn unknown() -> Problem {
    problem(StatusCode::NOT_FOUND, "not_found", "there is nothing under this path")
}

async fn wrong_method() -> Problem {
    problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take that method")
}

/// Too large a page is cut without a word, as many APIs do.
fn page_size(name: &str, asked: Option<usize>, max: usize) -> Result<usize, Problem> {
    match asked {
        Some(0) => Err(bad_parameter(format!("`{name}` must be at least 1"))),
        Some(size) => Ok(size.min(max)),
        None => Ok(PAGE_DEFAULT.min(max)),
    }
}

fn moment(text: &str) -> Result<DateTime<Utc>, Problem> {
    let parsed = DateTime::parse_from_rfc3339(text).map(|moment| moment.to_utc());
    parsed.map_err(|_| bad_parameter("`updated_since` must be an RFC 3339 timestamp".to_owned()))
}

fn write_cursor(last: &Customer) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{}", last.updated_at.timestamp(), last.id))
}

fn read_cursor(cursor: &str) -> Result<(DateTime<Utc>, String), Problem> {
    let decoded = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let place = decoded.as_deref().and_then(|text| text.split_once(':')).and_then(|(seconds, id)| {
        let at = DateTime::from_timestamp(seconds.parse().ok()?, 0)?;
        Some((at, id.to_owned()))
    });
    place.ok_or_else(|| bad_parameter("`cursor` is none that this API gave out".to_owned()))
}

fn bad_parameter(message: String) -> Problem {
    Problem { status: StatusCode::BAD_REQUEST, code: "invalid_parameter", message }
}

fn problem(status: StatusCode, code: &'static str, message: &str) -> Problem {
    Problem { status, code, message: message.to_owned() }
}
