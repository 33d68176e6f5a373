//! Fan-out, recursion and details.

use std::sync::Arc;

use serde_json::Value;

use super::place::{Place, Sink};
use super::provider::ProviderWords;
use super::sync::Beside;
use super::variables::Variables;
use super::{
    BatchPlan, DetailPlan, DetailShape, Format, LevelPlan, LevelSource, ListPlan, OnMissing, PagePlan, PartitionPlan,
    ResponsePlan, WalkPlan, request, words,
};
use crate::spec::{
    DetailKeySpec, DetailSpec, DetailsSpec, ForEachFromSpec, ForEachSpec, ListSpec, OnErrorSpec, OnMissingSpec,
    RowsSpec, SyncSpec, WalkSpec,
};

/// Compiles what makes partitions of a sync at `place`, `for_each` and `walk`, if it has one of them; `None` where a mistake was found.
pub(super) fn partitions(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &SyncSpec,
    beside: &Beside<'_>,
    open: Variables<'_>,
) -> Option<Option<PartitionPlan>> {
    let SyncSpec { for_each, walk, concurrency, on_error, .. } = spec;
    let for_each_place = place.key("for_each");
    let none = Vec::new();
    let levels = match (for_each, walk) {
        (Some(levels), _) => levels,
        (None, Some(_)) => &none,
        (None, None) => {
            for (key, is) in [("concurrency", concurrency.is_some()), ("on_error", on_error.is_some())] {
                if is && !for_each_place.is_hole() {
                    let hint = "take the line out, or add `for_each`".to_owned();
                    let message = format!("`{key}` is about the partitions of `for_each` or `walk`");
                    sink.key_error("E110", &place.key(key), message, Some(hint));
                }
            }
            return Some(None);
        }
    };
    let all = for_each_place;
    let names = open.but(&["watermark", "window", "parent", "walk"]);
    let mut plans = Vec::with_capacity(levels.len());
    for (index, ForEachSpec { name, from }) in levels.iter().enumerate() {
        let place = all.index(index);
        words::variable_name(sink, &place.key("as"), name);
        if levels[..index].iter().any(|level| level.name == *name) {
            let hint = "give each level a name of its own".to_owned();
            sink.error(
                "E110",
                &place.key("as"),
                format!("two levels are called `{}`", words::shorten(name)),
                Some(hint),
            );
        }
        // a level sees those around it
        let around = || levels[..index].iter().map(|level| level.name.as_str()).collect();
        let unclear = (0..index).any(|at| all.index(at).is_hole());
        let members: Vec<(&str, Vec<&str>)> = (!unclear).then(|| ("parent", around())).into_iter().collect();
        let names: Vec<&str> = names.iter().copied().chain((index > 0).then_some("parent")).collect();
        let open = Variables { names: &names, members: &members, ..open };
        let source = level(sink, &place.key("from"), from, &spec.sync, beside, open);
        plans.extend(source.map(|from| LevelPlan { name: name.clone(), from }));
    }
    let fail_on_error = *on_error == Some(OnErrorSpec::Fail);
    let plan = PartitionPlan { levels: plans, concurrency: concurrency.unwrap_or(1), fail_on_error };
    (plan.levels.len() == levels.len()).then_some(Some(plan))
}

fn level(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &ForEachFromSpec,
    own: &str,
    beside: &Beside<'_>,
    open: Variables<'_>,
) -> Option<LevelSource> {
    match spec {
        ForEachFromSpec::Values(given) => {
            let place = place.key("values");
            let one = given.as_str().is_some_and(|text| text.contains("{{"));
            if !one && !given.is_array() {
                let hint = "write a list, or a template that yields one: `\"{{ input.repos }}\"`".to_owned();
                sink.error("E110", &place, "this is no list of items", Some(hint));
                return None;
            }
            for (index, item) in given.as_array().into_iter().flatten().enumerate() {
                let keyed = matches!(item, Value::String(_) | Value::Number(_)) || item.get("key").is_some();
                if !keyed {
                    let hint = "an item is text, a number, or a map with `key`".to_owned();
                    sink.error("E110", &place.index(index), "nothing tells this item from another", Some(hint));
                    return None;
                }
            }
            request::value(sink, &place, given, open).map(LevelSource::Values)
        }
        ForEachFromSpec::Rows(RowsSpec { sync, filter, changed_only }) => {
            let place = place.key("rows");
            if sync == own {
                let hint = "name the sync that fills the parents' table".to_owned();
                sink.error("E110", &place.key("sync"), "a sync cannot fan out over its own rows", Some(hint));
                return None;
            }
            let Some((_, model)) = beside.syncs.iter().find(|(name, _)| name == sync) else {
                let known = beside.syncs.iter().map(|(name, _)| *name);
                words::one_of(sink, &place.key("sync"), ("E021", "sync"), sync, known);
                return None;
            };
            // where that model has a mistake, its own file tells of it
            let model =
                beside.models.iter().find(|(name, _)| Some(*name) == *model).and_then(|(_, model)| model.clone());
            let names = open.and(&["record"]);
            let filter = words::optional_predicate(sink, &place.key("where"), filter.as_ref(), open.with(&names));
            Some(LevelSource::Rows { sync: sync.clone(), model: model?, filter: filter?, changed_only: *changed_only })
        }
        ForEachFromSpec::List(spec) => {
            let ListSpec { request: asked, response, pagination, key } = spec.as_ref();
            let place = place.key("list");
            let list = request::list(sink, &place, (asked, response, pagination.as_ref()), beside.provider, open);
            let key = words::singular_path(sink, &place.key("key"), key);
            Some(LevelSource::List { list: Arc::new(list?), key: key? })
        }
    }
}

/// Compiles `walk`; `None` where a mistake was found.
pub(super) fn walk(sink: &mut Sink, place: &Place<'_>, spec: &WalkSpec, open: Variables<'_>) -> Option<WalkPlan> {
    let WalkSpec { into, bind, start, max_depth } = spec;
    let names = request::record_names(open);
    let into = words::predicate(sink, &place.key("into"), into, open.with(&names));
    for name in bind.keys() {
        words::key_name(sink, &place.key("bind").key(name), name, false);
    }
    let bind = words::paths(sink, &place.key("bind"), bind);
    let outside = open.but(&["walk", "page", "watermark", "window"]);
    let start =
        words::optional(start.as_ref(), |given| request::value(sink, &place.key("start"), given, open.with(&outside)));
    Some(WalkPlan { into: into?, bind: bind?, start: start?, depth_max: max_depth.unwrap_or(32) })
}

/// Compiles what stands under `detail`; `None` where a mistake was found.
pub(super) fn details(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: Option<&DetailsSpec>,
    provider: &ProviderWords<'_>,
    open: Variables<'_>,
) -> Option<Vec<DetailPlan>> {
    let specs = spec.map_or(&[][..], |DetailsSpec(specs)| specs);
    let plans: Vec<_> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| detail(sink, &detail_place(place, index), spec, provider, open))
        .collect();
    plans.into_iter().collect()
}

/// Where one of the details stands: `detail` is a map, or a list of them.
pub(super) fn detail_place<'p>(place: &Place<'p>, index: usize) -> Place<'p> {
    if place.node().is_some_and(Value::is_array) { place.index(index) } else { place.clone() }
}

/// Compiles one detail; `None` where a mistake was found.
fn detail(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &DetailSpec,
    provider: &ProviderWords<'_>,
    open: Variables<'_>,
) -> Option<DetailPlan> {
    let DetailSpec {
        request: asked,
        response,
        name,
        replace,
        batch,
        key,
        list: _,
        concurrency,
        when,
        only_changed,
        on_404,
    } = spec;
    let mut names = open.but(&["page"]);
    names.push(if batch.is_some() { "records" } else { "record" });
    let asked = request::request(sink, &place.key("request"), asked, provider, open.with(&names));
    let answer = words::optional(response.as_ref(), |spec| request::response(sink, &place.key("response"), spec, open));
    if name.is_some() == *replace && !place.key("as").is_hole() && !place.key("replace").is_hole() {
        let message = if *replace {
            "the detail cannot both be a member and take the record's place"
        } else {
            "it is not said what becomes of the detail"
        };
        let hint = "write `as: detail` for a member of the record, or `replace: true`".to_owned();
        sink.key_error("E111", place, message, Some(hint));
        return None;
    }
    if batch.is_some() && response.is_none() && !place.key("response").is_hole() {
        let hint = "say where the details stand: `response: { records: $.items[*] }`".to_owned();
        sink.key_error("E111", &place.key("batch"), "the details of a batch are a list", Some(hint));
        return None;
    }
    if key.is_some() && batch.is_none() {
        let hint = "take the line out, or add `batch`".to_owned();
        sink.key_error(
            "E111",
            &place.key("key"),
            "`key` joins the details of a `batch` with their records",
            Some(hint),
        );
    }
    let batch = batch_plan(sink, place, spec);
    let record = request::record_names(open);
    let when = words::optional_predicate(sink, &place.key("when"), when.as_ref(), open.with(&record));
    let answer = answer?;
    let shape = match &answer {
        None => DetailShape::Whole,
        Some(_) if spec.batch.is_some() => DetailShape::Keyed,
        Some(ResponsePlan { records, .. }) => match records.as_slice() {
            [one] if one.is_singular() => DetailShape::One,
            _ => DetailShape::List,
        },
    };
    let whole = || ResponsePlan { format: Format::Json, records: Vec::new(), optional: false, filter: None };
    let response = answer.unwrap_or_else(whole);
    let list = Arc::new(ListPlan { request: asked?, response, pagination: PagePlan::one() });
    Some(DetailPlan {
        list,
        shape,
        member: name.clone(),
        batch: batch?,
        concurrency: concurrency.unwrap_or(4),
        when: when?,
        only_changed: *only_changed,
        on_missing: match on_404 {
            OnMissingSpec::Fail => OnMissing::Fail,
            OnMissingSpec::Skip => OnMissing::Skip,
            OnMissingSpec::Delete => OnMissing::Delete,
        },
    })
}

/// The records that share a request for their details, if they do; `None` where a mistake was found.
fn batch_plan(sink: &mut Sink, place: &Place<'_>, spec: &DetailSpec) -> Option<Option<BatchPlan>> {
    let DetailSpec { batch, key, list, replace, .. } = spec;
    if *list && (batch.is_none() || *replace) {
        let hint = "a detail of one record is a list where `response.records` can lead to several".to_owned();
        let message = "`list` is about the details of a `batch` that become a member of their record";
        sink.key_error("E111", &place.key("list"), message, Some(hint));
    }
    let by_id = DetailKeySpec { record: "$.id".to_owned(), detail: "$.id".to_owned() };
    let DetailKeySpec { record, detail } = key.as_ref().unwrap_or(&by_id);
    let place = place.key("key");
    let is_one = place.node().is_none_or(Value::is_string);
    let record_key = words::singular_path(sink, &if is_one { place.clone() } else { place.key("record") }, record);
    let detail_key = if is_one { record_key.clone() } else { words::singular_path(sink, &place.key("detail"), detail) };
    let (record_key, detail_key) = (record_key?, detail_key?);
    Some(batch.map(|size| BatchPlan { size, record_key, detail_key, list: *list }))
}
