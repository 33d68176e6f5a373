//! Action files: everything that does not depend on the connection.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::place::{Place, Sink};
use super::sync::Beside;
use super::variables::Variables;
use super::{
    ActionOutput, ActionPlan, ColumnPlan, ColumnSource, ConnectionPlan, ErrorRule, IdempotencyKey, ModelPlan, PagePlan,
    ResponsePlan, StepPlan, SyncedFirst, connection, limits, paging, provider, request, table, words,
};
use crate::diagnostic::{Segment, suggest};
use crate::spec::finding::{Finding, check_against};
use crate::spec::{
    ActionOutputSpec, ActionRetrySpec, ActionSpec, IdempotencyKeySpec, PaginationSpec, RequestSpec, StepSpec,
    SyncedFirstSpec,
};

/// An action before it has a connection.
#[derive(Debug, Clone)]
pub(super) struct ActionDraft {
    description: Option<String>,
    input: Option<Value>,
    pub(super) steps: Vec<StepPlan>,
    response: Option<ResponsePlan>,
    attempts: u32,
    idempotency_key: Option<IdempotencyKey>,
    errors: Vec<ErrorRule>,
    output: ActionOutput,
    pagination: Option<PagePlan>,
    save: Option<Arc<ModelPlan>>,
    synced_first: Option<SyncedFirst>,
}

impl ActionDraft {
    pub(super) fn of(&self, name: &str, connection: &Arc<ConnectionPlan>) -> ActionPlan {
        let Self {
            description,
            input,
            steps,
            response,
            attempts,
            idempotency_key,
            errors,
            output,
            pagination,
            save,
            synced_first,
        } = self.clone();
        ActionPlan {
            name: name.to_owned(),
            description,
            connection: Arc::clone(connection),
            input,
            steps,
            response,
            attempts,
            idempotency_key,
            errors,
            output,
            pagination,
            save,
            synced_first,
            fillers: Vec::new(),
            age_column: None,
        }
    }
}

impl ActionPlan {
    /// What a caller gives, with the defaults of `input`.
    ///
    /// # Errors
    /// What of it is not as `input` says: each a message for people, and what to do.
    pub fn accept(&self, given: &Map<String, Value>) -> Result<Value, Vec<(String, Option<String>)>> {
        let input = connection::with_defaults(given, self.input.as_ref());
        let Some(schema) = &self.input else { return Ok(input) };
        match check_against(schema, &input) {
            Ok(findings) if findings.is_empty() => Ok(input),
            Ok(findings) => Err(findings.iter().map(told).collect()),
            Err(error) => Err(vec![(error, None)]),
        }
    }

    /// The first mistakes that [`ActionPlan::accept`] has found as one message, and what to do about the first of which that is known.
    pub fn refusal(mistakes: &[(String, Option<String>)]) -> (String, Option<String>) {
        let shown = &mistakes[..mistakes.len().min(limits::LISTED_MAX)];
        let lines: Vec<&str> = shown.iter().map(|(message, _)| message.as_str()).collect();
        let hint = shown.iter().find_map(|(_, hint)| hint.clone());
        let more = mistakes.len() - shown.len();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        (format!("{}{more}", lines.join("; ")), hint)
    }
}

/// A mistake in what a caller gives, with its place.
fn told(finding: &Finding) -> (String, Option<String>) {
    let mut at = String::from("input");
    for segment in &finding.path {
        match segment {
            Segment::Key(key) => at += &format!(".{key}"),
            Segment::Index(index) => at += &format!("[{index}]"),
        }
    }
    (format!("`{at}`: {}", finding.message), finding.hint.clone())
}

const VARIABLES: [&str; 4] = ["config", "input", "connection", "run"];

/// Compiles an action; `None` where a mistake was found.
pub(super) fn action(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &ActionSpec,
    beside: &Beside<'_>,
) -> Option<ActionDraft> {
    let ActionSpec {
        action: name,
        description,
        docs: _,
        scopes: _,
        input,
        request: request_spec,
        steps,
        response,
        retry,
        idempotency_key,
        errors,
        output: output_spec,
        pagination: pagination_spec,
        save,
        synced_first,
        allow,
    } = spec;
    words::name(sink, &place.key("action"), name, true);
    words::allow(sink, place, allow);
    let input = input.as_ref().filter(|schema| words::json_schema(sink, &place.key("input"), "input", schema));
    let paged = matches!(pagination_spec, Some(PaginationSpec::Cursor(_)));
    let names: Vec<&str> = VARIABLES.into_iter().chain(paged.then_some("page")).collect();
    let open = Variables { input, ..beside.provider.variables(&names) };
    let steps = steps_of(sink, place, (request_spec.as_ref(), steps.as_deref()), beside, open);
    let response =
        words::optional(response.as_ref(), |spec| request::response(sink, &place.key("response"), spec, open));
    let attempts = retry.as_ref().and_then(|ActionRetrySpec { attempts }| *attempts).unwrap_or(3);
    let idempotency_key = words::optional(idempotency_key.as_ref(), |spec| {
        idempotency_key_plan(sink, &place.key("idempotency_key"), spec, open)
    });
    let errors = provider::error_rules(sink, &place.key("errors"), errors, open);
    let output = output(sink, &place.key("output"), output_spec.as_ref(), beside);
    let pagination = words::optional(pagination_spec.as_ref(), |spec| {
        let at = place.key("pagination");
        let plan = paging::pagination(sink, &at, spec, open);
        // the last request is the one that is paged
        let asked = steps.as_ref().and_then(|steps| steps.last());
        let both = plan.as_ref().zip(asked);
        let good = both.is_none_or(|(plan, step)| paging::position_has_a_place(sink, &at, plan, &step.request));
        plan.filter(|_| good)
    });
    let save = saved(sink, &place.key("save"), *save, output.as_ref());
    let synced_first = words::optional(synced_first.as_ref(), |spec| {
        let at = place.key("synced_first");
        let plan = synced_first_plan(sink, &at, spec, beside, open)?;
        answers_the_same(sink, &at, &plan.model, output.as_ref()?).then_some(plan)
    });
    Some(ActionDraft {
        description: description.clone(),
        input: input.cloned(),
        steps: steps?,
        response: response?,
        attempts,
        idempotency_key: idempotency_key?,
        errors: errors?,
        output: output?,
        pagination: pagination?,
        save: save?,
        synced_first: synced_first?,
    })
}

/// What a sync knows of a record and an action does not, or has of its own.
const OF_SYNCS: [&str; 4] = ["parent", "walk", "input", "variant"];

/// The model that is saved, if one is.
#[expect(clippy::option_option, reason = "none is a mistake, as everywhere here")]
fn saved(
    sink: &mut Sink,
    place: &Place<'_>,
    save: bool,
    output: Option<&ActionOutput>,
) -> Option<Option<Arc<ModelPlan>>> {
    match (save, output) {
        (false, _) => Some(None),
        (true, Some(ActionOutput::Model(model))) => {
            saved_is_whole(sink, place, model);
            Some(Some(Arc::clone(model)))
        }
        (true, None) => None,
        (true, Some(_)) => {
            let hint = "say which model it is: `output: { model: Contact }`".to_owned();
            sink.key_error("E114", place, "what is saved must be a model", Some(hint));
            None
        }
    }
}

/// A row that is written through must have what a sync writes.
fn saved_is_whole(sink: &mut Sink, place: &Place<'_>, model: &ModelPlan) {
    let foreign = |column: &&ColumnPlan| match &column.source {
        ColumnSource::Template(template) | ColumnSource::OfItem(template, _) => {
            OF_SYNCS.iter().any(|name| template.names(name))
        }
        ColumnSource::Path(_) | ColumnSource::Parent(_) => false,
    };
    if let Some(column) = model.columns.iter().find(foreign) {
        let message =
            format!("the column `{}` of `{}` is made of what an action does not have", column.name, model.name);
        let hint = "take `save` out: the next run of the sync writes the row".to_owned();
        sink.key_error("E114", place, message, Some(hint));
    }
}

/// Whether the table has all that the API would have answered.
fn answers_the_same(sink: &mut Sink, place: &Place<'_>, model: &ModelPlan, output: &ActionOutput) -> bool {
    let wanted = match output {
        ActionOutput::Record => {
            let hint = format!("say what it answers: `output: {{ model: {} }}`", model.name);
            sink.key_error(
                "E114",
                place,
                "a table has columns, and this action answers the record as it came",
                Some(hint),
            );
            return false;
        }
        // its columns may be known only with a connection
        ActionOutput::Model(wanted) if wanted.name == model.name => return true,
        ActionOutput::Model(wanted) => &wanted.columns,
        ActionOutput::Columns(columns) => columns,
    };
    let lacks = |column: &&ColumnPlan| !model.columns.iter().any(|known| known.name == column.name);
    let Some(column) = wanted.iter().find(lacks) else { return true };
    let message = format!("the action answers with `{}`, which `{}` has no column for", column.name, model.name);
    let hint = suggest(&column.name, model.columns.iter().map(|column| column.name.as_str()));
    sink.key_error("E051", place, message, hint);
    false
}

/// The requests of an action: the only one, or its steps.
fn steps_of(
    sink: &mut Sink,
    place: &Place<'_>,
    (request, steps): (Option<&RequestSpec>, Option<&[StepSpec]>),
    beside: &Beside<'_>,
    open: Variables<'_>,
) -> Option<Vec<StepPlan>> {
    match (request, steps) {
        (Some(spec), None) => request::request(sink, &place.key("request"), spec, beside.provider, open)
            .map(|request| vec![StepPlan { name: String::new(), when: None, request }]),
        (None, Some(specs)) => step_plans(sink, &place.key("steps"), specs, beside, open),
        (Some(_), Some(_)) => {
            let hint = "put the request among the `steps`".to_owned();
            sink.key_error(
                "E060",
                &place.key("steps"),
                "an action has a `request` or `steps`, and this one has both",
                Some(hint),
            );
            None
        }
        (None, None) => {
            let hint = "write what is asked: `request: { post: /contacts }`".to_owned();
            // it may be what was misspelt
            if !place.is_broken() {
                sink.error("E011", place, "the key `request` is missing", Some(hint));
            }
            None
        }
    }
}

fn step_plans(
    sink: &mut Sink,
    place: &Place<'_>,
    specs: &[StepSpec],
    beside: &Beside<'_>,
    open: Variables<'_>,
) -> Option<Vec<StepPlan>> {
    let mut plans = Vec::with_capacity(specs.len());
    for (index, StepSpec { name, when, request: asked }) in specs.iter().enumerate() {
        let at = place.index(index);
        words::variable_name(sink, &at.key("as"), name);
        if specs[..index].iter().any(|step| step.name == *name) {
            let hint = "give each step a name of its own".to_owned();
            sink.error("E110", &at.key("as"), format!("two steps are called `{}`", words::shorten(name)), Some(hint));
        }
        // a step sees those before it; one whose name was misspelt may be the one that is meant
        let before = || specs[..index].iter().map(|step| step.name.as_str()).collect();
        let unclear = (0..index).any(|at| place.index(at).is_hole());
        let members: Vec<(&str, Vec<&str>)> = (!unclear).then(|| ("steps", before())).into_iter().collect();
        let names = open.and(if index > 0 { &["steps"] } else { &[] });
        let open = Variables { names: &names, members: &members, ..open };
        let when = words::optional_template(sink, &at.key("when"), when.as_ref(), open);
        let plan = request::request(sink, &at.key("request"), asked, beside.provider, open);
        plans.extend((|| Some(StepPlan { name: name.clone(), when: when?, request: plan? }))());
    }
    (plans.len() == specs.len()).then_some(plans)
}

fn idempotency_key_plan(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &IdempotencyKeySpec,
    open: Variables<'_>,
) -> Option<IdempotencyKey> {
    let IdempotencyKeySpec { header, value } = spec;
    let header = words::header_name(sink, &place.key("header"), header.as_deref().unwrap_or("Idempotency-Key"));
    let value = words::optional_template(sink, &place.key("value"), value.as_ref(), open);
    Some(IdempotencyKey { header: header?, value: value? })
}

fn output(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: Option<&ActionOutputSpec>,
    beside: &Beside<'_>,
) -> Option<ActionOutput> {
    match spec {
        None => Some(ActionOutput::Record),
        Some(ActionOutputSpec::Model(name)) => beside.model(sink, &place.key("model"), name).map(ActionOutput::Model),
        Some(ActionOutputSpec::Columns(specs)) => {
            let place = place.key("columns");
            let open = Variables::new(&table::RECORD_VARIABLES, beside.provider.config.as_ref());
            let plans: Vec<Option<ColumnPlan>> = specs
                .iter()
                .map(|(name, spec)| table::column(sink, &place.key(name), name, spec, open, false, false))
                .collect();
            plans.into_iter().collect::<Option<_>>().map(ActionOutput::Columns)
        }
    }
}

fn synced_first_plan(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &SyncedFirstSpec,
    beside: &Beside<'_>,
    open: Variables<'_>,
) -> Option<SyncedFirst> {
    let SyncedFirstSpec { model, filter } = spec;
    let model = beside.model(sink, &place.key("model"), model);
    let place = place.key("where");
    let values = request::values(sink, &place, filter, open);
    let model = model?;
    let mut good = true;
    for name in filter.keys().filter(|name| !model.columns.iter().any(|column| column.name == **name)) {
        let names = model.columns.iter().map(|column| column.name.as_str());
        let message = format!("`{}` has no column `{}`", model.name, words::shorten(name));
        sink.key_error("E051", &place.key(name), message, suggest(name, names));
        good = false;
    }
    Some(SyncedFirst { model, filter: values? }).filter(|_| good)
}
