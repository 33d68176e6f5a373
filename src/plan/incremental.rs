//! What makes a sync incremental: a field, windows, a token, a list of changes.

use std::time::Duration;

use super::place::{Place, Sink};
use super::provider::ProviderWords;
use super::variables::{Variables, template};
use super::{
    IncrementalPlan, ListPlan, MarkKind, Order, Span, StartToken, Template, TimeFormat, TokenFeed, WindowPlan, Zone,
    request, words,
};
use crate::spec::{
    ChangesSpec, ExpiredSpec, IncrementalSpec, MarkTypeSpec, OrderSpec, SplitSpec, StartTokenSpec, TokenFeedSpec,
    WindowSpec,
};

/// What `incremental` says.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) by_field: Option<IncrementalPlan>,
    pub(super) token: Option<TokenFeed>,
    /// the list that tells what changed, where it is not that of the records
    pub(super) list: Option<ListPlan>,
    /// the zone of `by_field`, where only a connection tells it
    pub(super) timezone: Option<Template>,
}

/// Compiles `incremental`: by a field, by a token, or both; `None` where a mistake was found.
pub(super) fn incremental(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &IncrementalSpec,
    provider: &ProviderWords<'_>,
    open: Variables<'_>,
) -> Option<Changes> {
    let list = words::optional(spec.changes.as_ref(), |spec| {
        let place = place.key("changes");
        let ChangesSpec { request, response, pagination } = spec;
        request::list(sink, &place, (request, response, pagination.as_ref()), provider, open)
    });
    let max_age = words::optional_duration(sink, &place.key("max_age"), spec.max_age.as_ref());
    let token = words::optional(spec.token.as_ref(), |spec| {
        token(sink, &place.key("token"), spec, provider, (open, max_age.flatten()))
    });
    let by_field = by_field(sink, place, spec, open, max_age);
    let (by_field, timezone) = by_field?;
    Some(Changes { by_field, token: token?, list: list?, timezone })
}

/// Compiles what is said of the field, if there is one, and the zone where only a connection tells it.
fn by_field(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &IncrementalSpec,
    open: Variables<'_>,
    max_age: Option<Option<Duration>>,
) -> Option<(Option<IncrementalPlan>, Option<Template>)> {
    let IncrementalSpec {
        field,
        kind: kind_spec,
        format,
        timezone,
        order,
        start,
        lookback,
        window: window_spec,
        stop_at_watermark,
        client_filter,
        token: token_spec,
        changes,
        max_age: _,
    } = spec;
    let kind = mark_kind(*kind_spec);
    let Some(field) = field else {
        if token_spec.is_none() && !place.key("field").is_hole() {
            let hint = match changes {
                None => "`field`: a path to the field in the record: `$.updated_at`",
                Some(_) => {
                    "`field`: a path to the time in a record of `changes`; or a `token`, where the API gives one"
                }
            };
            sink.error("E011", place, "the key `field` is missing", Some(hint.to_owned()));
            return None;
        }
        only_with_field(sink, place)?;
        return Some((None, None));
    };
    if changes.is_some() {
        begins_with_everything(sink, place, spec, kind)?;
    }
    let field = words::singular_path(sink, &place.key("field"), field);
    let format = format_plan(sink, &place.key("format"), kind, format.as_ref());
    let zone = zone_plan(sink, &place.key("timezone"), kind, timezone.as_ref(), open);
    let start = start_plan(sink, &place.key("start"), kind, start.as_ref(), open);
    let lookback = lookback_plan(sink, &place.key("lookback"), kind, lookback.as_ref());
    let window = words::optional(window_spec.as_ref(), |spec| window(sink, &place.key("window"), spec, kind, open));
    let no_start = start.as_ref().is_some_and(Option::is_none) && !place.key("start").is_hole();
    if window_spec.is_some() && changes.is_none() && no_start {
        let hint = "say where the first window starts: `start: 2020-01-01`".to_owned();
        sink.key_error("E107", &place.key("window"), "windows need a `start`", Some(hint));
        return None;
    }
    if *stop_at_watermark && *order != OrderSpec::Descending {
        let hint = "say that the API lists the newest first: `order: descending`".to_owned();
        sink.key_error(
            "E108",
            &place.key("stop_at_watermark"),
            "`stop_at_watermark` needs a list that is newest first",
            Some(hint),
        );
    }
    let (zone, timezone) = zone?.map_or((None, None), ZoneWord::apart);
    let plan = IncrementalPlan {
        field: field?,
        kind,
        format: format?,
        zone,
        order: order_plan(*order),
        start: start?,
        lookback: lookback?,
        window: window?,
        stop_at_watermark: *stop_at_watermark,
        client_filter: *client_filter,
        max_age: max_age?,
    };
    Some((Some(plan), timezone))
}

/// Where everything is read first, and changes from the time on at which that began.
fn begins_with_everything(sink: &mut Sink, place: &Place<'_>, spec: &IncrementalSpec, kind: MarkKind) -> Option<()> {
    if spec.start.is_some() {
        let hint = "take the line out: `request` reads everything first, and `changes` what came since".to_owned();
        let message = "`start` is where a first run begins, and with `changes` it begins with everything";
        sink.key_error("E107", &place.key("start"), message, Some(hint));
        return None;
    }
    if spec.token.is_none() && matches!(kind, MarkKind::Integer | MarkKind::Text) {
        let hint = "ask for the first one: `token: { start: { request: …, from: $.seq }, from: $.seq }`".to_owned();
        let message = "changes are read from the time on at which the records were, and a number or a text is no time";
        sink.key_error("E107", &place.key("changes"), message, Some(hint));
        return None;
    }
    Some(())
}

fn mark_kind(spec: MarkTypeSpec) -> MarkKind {
    match spec {
        MarkTypeSpec::Timestamp => MarkKind::Timestamp,
        MarkTypeSpec::Date => MarkKind::Date,
        MarkTypeSpec::Integer => MarkKind::Integer,
        MarkTypeSpec::Text => MarkKind::Text,
    }
}

fn order_plan(spec: OrderSpec) -> Order {
    match spec {
        OrderSpec::Ascending => Order::Ascending,
        OrderSpec::Descending => Order::Descending,
        OrderSpec::None => Order::None,
    }
}

fn lookback_plan(sink: &mut Sink, place: &Place<'_>, kind: MarkKind, text: Option<&String>) -> Option<Duration> {
    match text {
        None => Some(Duration::ZERO),
        Some(_) if matches!(kind, MarkKind::Integer | MarkKind::Text) => {
            let message = "only a timestamp or a date has a `lookback`";
            sink.key_error("E041", place, message, Some("take the line out".to_owned()));
            None
        }
        Some(text) => words::duration(sink, place, text),
    }
}

/// Words that mean nothing without a `field`.
fn only_with_field(sink: &mut Sink, place: &Place<'_>) -> Option<()> {
    let keys =
        ["type", "format", "timezone", "order", "start", "lookback", "window", "stop_at_watermark", "client_filter"];
    let needless: Vec<&str> = keys.into_iter().filter(|key| place.key(key).node().is_some()).collect();
    for key in &needless {
        let hint = "add `field: $.updated_at`, or take the line out".to_owned();
        sink.key_error(
            "E107",
            &place.key(key),
            format!("`{key}` is about a `field`, and there is only a `token`"),
            Some(hint),
        );
    }
    needless.is_empty().then_some(())
}

fn format_plan(sink: &mut Sink, place: &Place<'_>, kind: MarkKind, text: Option<&String>) -> Option<TimeFormat> {
    match text {
        Some(_) if !matches!(kind, MarkKind::Timestamp | MarkKind::Date) => {
            let message = "only a timestamp or a date has a `format`";
            sink.key_error("E044", place, message, Some("take the line out".to_owned()));
            None
        }
        Some(text) => words::time_format(sink, place, text),
        None => Some(TimeFormat::Rfc3339),
    }
}

/// A time zone as it is written.
enum ZoneWord {
    Fixed(Zone),
    /// known with the settings of a connection
    OfConnection(Template),
}

impl ZoneWord {
    fn apart(self) -> (Option<Zone>, Option<Template>) {
        match self {
            Self::Fixed(zone) => (Some(zone), None),
            Self::OfConnection(template) => (None, Some(template)),
        }
    }
}

fn zone_plan(
    sink: &mut Sink,
    place: &Place<'_>,
    kind: MarkKind,
    text: Option<&String>,
    open: Variables<'_>,
) -> Option<Option<ZoneWord>> {
    let Some(text) = text else { return Some(None) };
    if matches!(kind, MarkKind::Integer | MarkKind::Text) {
        let message = "only a timestamp or a date has a `timezone`";
        sink.key_error("E107", place, message, Some("take the line out".to_owned()));
        return None;
    }
    let template = template(sink, place, text, open.with(&["config", "input", "variant", "connection"]))?;
    if template.is_fixed() {
        let name = words::timezone(sink, place, text)?;
        return Zone::parse(&name).map(|zone| Some(ZoneWord::Fixed(zone)));
    }
    Some(Some(ZoneWord::OfConnection(template)))
}

fn start_plan(
    sink: &mut Sink,
    place: &Place<'_>,
    kind: MarkKind,
    text: Option<&String>,
    open: Variables<'_>,
) -> Option<Option<Template>> {
    let Some(text) = text else { return Some(None) };
    let names = ["config", "input", "variant", "connection", "run"];
    let template = template(sink, place, text, open.with(&names))?;
    if template.is_fixed() && !may_start(kind, text) {
        let hint = match kind {
            MarkKind::Integer => "write a whole number: `0`",
            _ => "write a day or a time: `2020-01-01`, `2020-01-01T00:00:00Z`",
        };
        let message = format!("`{}` is nothing to start from", words::shorten(text));
        sink.error("E036", place, message, Some(hint.to_owned()));
        return None;
    }
    Some(Some(template))
}

/// Whether a fixed `start` can be a mark. Times have more forms than are judged here; what has none of their digits is none.
fn may_start(kind: MarkKind, text: &str) -> bool {
    match kind {
        MarkKind::Timestamp | MarkKind::Date => {
            text.trim().starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+')
        }
        MarkKind::Integer => text.trim().parse::<i64>().is_ok(),
        MarkKind::Text => true,
    }
}

fn window(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &WindowSpec,
    kind: MarkKind,
    open: Variables<'_>,
) -> Option<WindowPlan> {
    let WindowSpec { size, granularity, lag, split, concurrency } = spec;
    if matches!(kind, MarkKind::Integer | MarkKind::Text) {
        let hint = "windows are stretches of time: `type: timestamp` or `type: date`".to_owned();
        sink.key_error("E107", place, "only a timestamp or a date has windows", Some(hint));
        return None;
    }
    let size = words::span(sink, &place.key("size"), size);
    let unit = if kind == MarkKind::Date { 86_400 } else { 1 };
    let granularity =
        words::duration_or(sink, &place.key("granularity"), granularity.as_ref(), Duration::from_secs(unit));
    let lag = words::optional_duration(sink, &place.key("lag"), lag.as_ref());
    if let (Some(size), Some(granularity)) = (size, granularity)
        && size.shortest() < granularity
    {
        let hint = "make the window longer, or the granularity finer".to_owned();
        let message =
            format!("a window is shorter than the `granularity`, which is {}", humantime::format_duration(granularity));
        sink.error("E107", &place.key("size"), message, Some(hint));
        return None;
    }
    let split = match split {
        None => Some(None),
        Some(SplitSpec { when, min }) => {
            let place = place.key("split");
            let when = template(sink, &place.key("when"), when, open.with(&open.and(&["response"])));
            let min_span = match min {
                None => Some(Span::MINUTE),
                Some(text) => words::span(sink, &place.key("min"), text),
            };
            if let (Some(size), Some(min)) = (size, min_span)
                && min.shortest() >= size.shortest()
            {
                let hint = "make `min` shorter than `size`".to_owned();
                let (at, default) =
                    if min_is_written(spec) { (place.key("min"), "") } else { (place.clone(), ", which is 1m,") };
                let message = format!("a window as short as `min`{default} cannot be halved");
                sink.key_error("E107", &at, message, Some(hint));
                return None;
            }
            Some(Some((when?, min_span?)))
        }
    };
    Some(WindowPlan {
        size: size?,
        granularity: granularity?,
        lag: lag?.unwrap_or_default(),
        split: split?,
        concurrency: concurrency.unwrap_or(1),
    })
}

fn min_is_written(spec: &WindowSpec) -> bool {
    spec.split.as_ref().is_some_and(|split| split.min.is_some())
}

fn token(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &TokenFeedSpec,
    provider: &ProviderWords<'_>,
    (open, max_age): (Variables<'_>, Option<Duration>),
) -> Option<TokenFeed> {
    let TokenFeedSpec { from, optional, start, expired } = spec;
    let from = words::path(sink, &place.key("from"), from);
    let start = words::optional(start.as_ref(), |StartTokenSpec { request: asked, from }| {
        let place = place.key("start");
        // nothing is known before it
        let names = open.but(&["watermark", "window", "page"]);
        let request = request::request(sink, &place.key("request"), asked, provider, open.with(&names));
        let from = words::singular_path(sink, &place.key("from"), from);
        Some(StartToken { request: request?, from: from? })
    });
    let expired = match expired {
        None => Some(None),
        Some(ExpiredSpec { status, when }) => {
            let names = open.and(&["response"]);
            let place = place.key("expired").key("when");
            let when = words::optional_template(sink, &place, when.as_ref(), open.with(&names));
            when.map(|when| Some((*status, when)))
        }
    };
    Some(TokenFeed { from: from?, optional: *optional, start: start?, expired: expired?, max_age })
}
