//! What tells that a record is gone.

use std::sync::Arc;
use std::time::Duration;

use super::place::{Place, Sink};
use super::provider::ProviderWords;
use super::variables::Variables;
use super::{DeletePlan, FeedPlan, Guard, ModelPlan, Path, Scope, SweepPlan, request, words};
use crate::diagnostic::suggest;
use crate::spec::{AbsenceSpec, DeletesSpec, FeedSpec, FlagSpec, GuardSpec, RowKeySpec, ScopeSpec, SweepSpec};

/// Compiles `deletes`; `None` where a mistake was found. `model` is none where that has a mistake of its own.
pub(super) fn deletes(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &DeletesSpec,
    provider: &ProviderWords<'_>,
    model: Option<&ModelPlan>,
    open: Variables<'_>,
) -> Option<DeletePlan> {
    match spec {
        DeletesSpec::Absence(spec) => {
            let AbsenceSpec { scope: scope_spec, gone_partitions, guard: guard_spec } = spec;
            let scope = match scope_spec {
                ScopeSpec::All => Scope::All,
                ScopeSpec::Window => Scope::Window,
                ScopeSpec::Partition => Scope::Partition,
            };
            Some(DeletePlan::Absence {
                scope,
                gone_partitions: gone_partitions.deletes(),
                guard: guard(guard_spec.as_ref()),
            })
        }
        DeletesSpec::Flag(FlagSpec { when, at, gone_partitions, guard: guard_spec }) => {
            let place = place.key("flag");
            let names = request::record_names(open);
            let when = words::predicate(sink, &place.key("when"), when, open.with(&names));
            let at = words::optional(at.as_ref(), |_| words::optional_path(sink, &place, "at", at.as_ref()));
            let guard = guard(guard_spec.as_ref());
            Some(DeletePlan::Flag { when: when?, at: at?, gone_partitions: gone_partitions.deletes(), guard })
        }
        DeletesSpec::Feed(spec) => {
            let place = place.key("feed");
            let FeedSpec {
                request: asked,
                response,
                pagination,
                key,
                field,
                format,
                gone_partitions,
                guard: guard_spec,
            } = spec;
            // the watermark is the feed's own
            let mut names = open.but(&["watermark", "window"]);
            names.extend(field.is_some().then_some("watermark"));
            let open = open.with(&names);
            let list = request::list(sink, &place, (asked, response, pagination.as_ref()), provider, open);
            let key = row_key(sink, &place.key("key"), key, model);
            let field = words::optional(field.as_ref(), |text| words::singular_path(sink, &place.key("field"), text));
            let format = words::time_format(sink, &place.key("format"), format.as_deref().unwrap_or("rfc3339"));
            let field = field?.zip(format);
            let (guard, gone_partitions) = (guard(guard_spec.as_ref()), gone_partitions.deletes());
            let list = Arc::new(list?);
            Some(DeletePlan::Feed(Box::new(FeedPlan { list, key: key?, field, gone_partitions, guard })))
        }
        DeletesSpec::Sweep(spec) => {
            let place = place.key("sweep");
            let SweepSpec { request: asked, response, pagination, key, every, gone_partitions, guard: guard_spec } =
                spec;
            let names = open.but(&["watermark", "window"]);
            let list = request::list(sink, &place, (asked, response, pagination.as_ref()), provider, open.with(&names));
            let key = row_key(sink, &place.key("key"), key, model);
            let every = words::duration_or(sink, &place.key("every"), every.as_ref(), Duration::from_secs(86_400));
            let guard = guard(guard_spec.as_ref());
            let (list, gone_partitions) = (Arc::new(list?), gone_partitions.deletes());
            Some(DeletePlan::Sweep(Box::new(SweepPlan { list, key: key?, every: every?, gone_partitions, guard })))
        }
        DeletesSpec::Webhook {} => Some(DeletePlan::Webhook),
    }
}

fn guard(spec: Option<&GuardSpec>) -> Guard {
    let default = Guard::DEFAULT;
    match spec {
        Some(GuardSpec { max_fraction, min_rows, allow_empty }) => Guard {
            max_fraction: max_fraction.unwrap_or(default.max_fraction),
            min_rows: min_rows.unwrap_or(default.min_rows),
            allow_empty: *allow_empty,
        },
        None => default,
    }
}

/// Which row an entry means: a path for each key column of the model, and for no other.
fn row_key(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &RowKeySpec,
    model: Option<&ModelPlan>,
) -> Option<Vec<(usize, Path)>> {
    let paths = words::paths(sink, place, &spec.0);
    let model = model?;
    let names: Vec<&str> = model.key.iter().map(|at| model.columns[*at].name.as_str()).collect();
    let mut good = true;
    for given in spec.0.keys().filter(|given| !names.contains(&given.as_str())) {
        let message = format!("`{}` is not a key column of `{}`", words::shorten(given), model.name);
        sink.key_error("E109", &place.key(given), message, suggest(given, names.iter().copied()));
        good = false;
    }
    for missing in names.iter().filter(|name| !spec.0.contains_key(**name) && !place.key(name).is_hole()) {
        if good {
            let hint = format!("add `{missing}: $.{missing}`");
            let message = format!("an entry does not tell the row: the key column `{missing}` is missing");
            sink.key_error("E109", place, message, Some(hint));
        }
        good = false;
    }
    let paths = paths.filter(|_| good)?;
    let position = |name: &str| model.key.iter().copied().find(|at| model.columns[*at].name == name);
    paths.into_iter().map(|(name, path)| Some((position(&name)?, path))).collect()
}
