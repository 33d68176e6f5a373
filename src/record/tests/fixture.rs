//! Plans, values and generators that several tests share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::plan::{
    AuthPlan, BodyPlan, ColumnPlan, ColumnSource, ColumnType, ConnectionPlan, Format, ListPlan, Method, ModelPlan,
    NetworkPlan, PagePlan, Path, RatePlan, RequestPlan, ResponsePlan, RetryPlan, SyncId, SyncPlan, Template,
    TimeFormat,
};
use crate::record::Json;

pub(super) fn json(text: &str) -> Json<'_> {
    crate::record::parse(text.as_bytes()).expect("the test's JSON parses")
}

pub(super) fn column_type(text: &str) -> ColumnType {
    ColumnType::parse(text).expect("the test's type parses")
}

pub(super) fn path(text: &str) -> Path {
    Path::parse(text).expect("the test's path parses")
}

pub(super) fn template(text: &str) -> Template {
    Template::parse(text).expect("the test's template parses")
}

/// A column read from a path (`$…`) or a template.
pub(super) fn column(name: &str, column_type_text: &str, source: &str) -> ColumnPlan {
    ColumnPlan {
        name: name.to_owned(),
        column_type: column_type(column_type_text),
        source: if source.starts_with('$') {
            ColumnSource::Path(path(source))
        } else {
            ColumnSource::Template(template(source))
        },
        format: TimeFormat::Rfc3339,
        required: false,
        volatile: false,
        description: None,
    }
}

fn connection() -> ConnectionPlan {
    ConnectionPlan {
        name: "acme-eu".into(),
        provider: "acme".into(),
        base_url: "https://api.acme.example".parse().expect("a URL"),
        trusted_origins: Vec::new(),
        base_url_is_literal: true,
        network: NetworkPlan::default(),
        auth_name: None,
        auth: AuthPlan::None,
        scopes: Vec::new(),
        unknown: Vec::new(),
        credentials: BTreeMap::new(),
        config: serde_json::json!({}),
        rate_limit: RatePlan { concurrency: 1, ..RatePlan::DEFAULT },
        retry: RetryPlan {
            attempts: 1,
            statuses: Vec::new(),
            backoff_base: Duration::from_secs(1),
            backoff_max: Duration::from_secs(1),
        },
        timeout_connect: Duration::from_secs(1),
        timeout_request: Duration::from_secs(1),
        errors: Vec::new(),
        verify: None,
        on_connect: Vec::new(),
        webhooks: None,
        tls: None,
    }
}

/// A sync into a model of these columns, whose key is the first.
pub(super) fn sync(columns: Vec<ColumnPlan>) -> SyncPlan {
    let mut columns = columns;
    columns[0].required = true;
    let id =
        SyncId { connection: "acme-eu".into(), provider: "acme".into(), sync: "things".into(), variant: String::new() };
    let model = ModelPlan { key: vec![0], ..ModelPlan::of_columns("Thing", ("acme", "things"), columns) };
    let request = RequestPlan {
        method: Method::Get,
        path: template("/things"),
        query: Vec::new(),
        headers: Vec::new(),
        body: BodyPlan::None,
    };
    let response = ResponsePlan { format: Format::Json, records: vec![path("$[*]")], optional: false, filter: None };
    let list = ListPlan { request, response, pagination: PagePlan::one() };
    let input = serde_json::json!({});
    SyncPlan { input, ..SyncPlan::of_list(id, Arc::new(connection()), Arc::new(model), list) }
}

/// Any number in JSON's spelling, from 0 to 60 digits.
pub(super) fn number_text() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?"
}

/// Any JSON value.
pub(super) fn any_json() -> impl Strategy<Value = Json<'static>> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        number_text().prop_map(|text| Json::Number(text.into())),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|items| Json::Array(items.into())),
            prop::collection::btree_map("[a-c\"\\\\é\u{1}]{0,2}", inner, 0..8).prop_map(|members| Json::Object(
                members.into_iter().map(|(name, value)| (name.into(), value)).collect()
            )),
        ]
    })
}
