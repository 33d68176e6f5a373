//! The syncs of a connection in their variants: those of `headwater.yaml`, and over them what the API has set.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::compile::{Documents, Typed, sync_plan};
use super::place::{Place, Sink};
use super::sync::SyncDraft;
use super::{ConnectionPlan, InputPlan, Schedule, SyncId, SyncPlan, columns_from, connection, schedule, words};
use crate::diagnostic::suggest;
use crate::spec::{ConnectionSpec, ConnectionSyncSpec, OverlaySpec, OverlaySyncSpec, VariantSpec};

/// What a person has given a connection, and what the API has.
pub(super) struct Given<'g, 'd> {
    pub(super) place: &'g Place<'d>,
    pub(super) name: &'g str,
    pub(super) spec: &'g ConnectionSpec,
    pub(super) over: Option<Over<'d>>,
}

/// What the API has set for a connection.
pub(super) struct Over<'d> {
    place: Place<'d>,
    syncs: &'d IndexMap<String, OverlaySyncSpec>,
}

impl<'d> Over<'d> {
    pub(super) fn of(overlay: Option<&'d Typed<OverlaySpec>>, connection: &str) -> Option<Self> {
        let overlay = overlay?;
        let place = Place::top(&overlay.document).key("connections").key(connection).key("syncs");
        Some(Self { place, syncs: &overlay.spec.connections.get(connection)?.syncs })
    }

    fn sync(&self, name: &str) -> Option<(Place<'d>, &'d OverlaySyncSpec)> {
        Some((self.place.key(name), self.syncs.get(name)?))
    }
}

/// What comes of the syncs of a connection.
#[derive(Default)]
pub(super) struct Syncs {
    pub(super) plans: Vec<Arc<SyncPlan>>,
    pub(super) inputs: Vec<InputPlan>,
}

/// Tells of what is set for connections that are not there.
pub(super) fn of_nobody(
    sink: &mut Sink,
    overlay: Option<&Typed<OverlaySpec>>,
    connections: &IndexMap<String, ConnectionSpec>,
) {
    let Some(overlay) = overlay else { return };
    let place = Place::top(&overlay.document).key("connections");
    for name in overlay.spec.connections.keys().filter(|name| !connections.contains_key(*name)) {
        idle(sink, &place.key(name), &format!("headwater.yaml has no connection `{name}`"));
    }
}

/// What was set stays until somebody takes it out: who takes a connection out of headwater.yaml for a while shall not be stopped by it.
fn idle(sink: &mut Sink, place: &Place<'_>, why: &str) {
    let hint = "put it back into headwater.yaml, or take this out".to_owned();
    sink.warning("W088", place, format!("what the API has set here does nothing: {why}"), Some(hint));
}

/// The syncs of a connection. What is set over them is checked where it stands.
pub(super) fn syncs(
    sink: &mut Sink,
    given: &Given<'_, '_>,
    documents: &Documents,
    connection: Option<&Arc<ConnectionPlan>>,
    (drafts, made): (&BTreeMap<(&str, &str), SyncDraft>, &mut columns_from::Made),
) -> Syncs {
    let Given { place: connection_place, name: connection_name, spec, over } = given;
    let provider = spec.provider.as_str();
    let available: Vec<&str> =
        documents.syncs.keys().filter(|(of, _)| of == provider).map(|(_, name)| name.as_str()).collect();
    let all: Vec<(&str, ConnectionSyncSpec)> = match &spec.syncs {
        Some(chosen) => chosen.iter().map(|(name, spec)| (name.as_str(), spec.clone())).collect(),
        None => {
            let starts = |name: &str| drafts.get(&(provider, name)).is_none_or(|draft| draft.auto_start);
            let all = available.iter().filter(|name| starts(name));
            all.map(|name| (*name, ConnectionSyncSpec::default())).collect()
        }
    };
    // one that has a mistake of its own may be meant for another provider
    if all.is_empty() && connection.is_some() {
        nothing_to_sync(sink, connection_place, provider, available.first());
    }
    if let Some(Over { place, syncs }) = over {
        for name in syncs.keys().filter(|name| !all.iter().any(|(known, _)| known == name)) {
            let why = format!("the connection `{connection_name}` has no sync `{name}`");
            idle(sink, &place.key(name), &why);
        }
    }
    let mut syncs = Syncs::default();
    for (name, sync_spec) in all {
        let place =
            if spec.syncs.is_some() { connection_place.key("syncs").key(name) } else { (*connection_place).clone() };
        if !available.contains(&name) {
            let message = format!("`{provider}` has no sync `{name}`");
            sink.key_error("E021", &place, message, suggest(name, available.iter().copied()));
            continue;
        }
        let (Some(draft), Some(connection)) = (drafts.get(&(provider, name)), connection) else { continue };
        for request in draft.requests() {
            let ConnectionPlan { auth, credentials, .. } = &**connection;
            connection::credentials_are_given(sink, connection_place, request, auth, credentials);
        }
        let over = over.as_ref().and_then(|over| over.sync(name));
        for Variant { name: variant, place, input, schedule } in variants(sink, &place, &sync_spec, over.as_ref()) {
            let (provider, sync) = (provider.to_owned(), name.to_owned());
            let id = SyncId { connection: connection.name.clone(), provider, sync, variant };
            let places = (&place, *connection_place);
            let plan = sync_plan(sink, places, (id, draft, connection), &input, documents, made);
            syncs.plans.extend(plan.map(|plan| {
                let schedule = schedule.unwrap_or(plan.schedule);
                Arc::new(SyncPlan { schedule, ..plan })
            }));
        }
        let (connection, provider) = (connection.name.clone(), provider.to_owned());
        syncs.inputs.push(InputPlan { connection, provider, sync: name.to_owned(), schema: draft.input.clone() });
    }
    syncs
}

struct Variant<'p> {
    name: String,
    /// where its input stands
    place: Place<'p>,
    input: Map<String, Value>,
    /// if it is not the sync's
    schedule: Option<Schedule>,
}

/// The variants of a sync: those that a person wrote, or the only one, and those that the API has made.
fn variants<'p>(
    sink: &mut Sink,
    place: &Place<'p>,
    spec: &ConnectionSyncSpec,
    over: Option<&(Place<'p>, &OverlaySyncSpec)>,
) -> Vec<Variant<'p>> {
    let ConnectionSyncSpec { input, schedule: schedule_spec, variants } = spec;
    let own_schedule =
        schedule_spec.as_ref().and_then(|spec| schedule::schedule(sink, &place.key("schedule"), Some(spec)));
    let set = over.and_then(|(place, over)| Some((place.key("input"), over.input.as_ref()?)));
    let (input_place, input) = set.clone().unwrap_or((place.key("input"), input));
    let mut all = Vec::new();
    let mut add = |sink: &mut Sink, name: &str, place: &Place<'p>, spec: &VariantSpec, own_set: Option<_>| {
        let VariantSpec { input: own, schedule } = spec;
        words::key_name(sink, place, name, true);
        let scheduled = schedule.as_ref().and_then(|spec| schedule::schedule(sink, &place.key("schedule"), Some(spec)));
        let (place, own) = match (own_set, &set) {
            (Some(own_set), _) => own_set,
            // it has nothing of its own: what is wrong with it is what is set
            (None, Some((place, _))) if own.is_empty() => (place.clone(), own),
            (None, _) => (place.key("input"), own),
        };
        let mut merged = input.clone();
        merged.extend(own.clone());
        let schedule = scheduled.or_else(|| own_schedule.clone());
        all.push(Variant { name: name.to_owned(), place, input: merged, schedule });
    };
    for (name, spec) in variants.iter().flatten() {
        let set = over
            .and_then(|(place, over)| Some((place.key("variant_inputs").key(name), over.variant_inputs.get(name)?)));
        add(sink, name, &place.key("variants").key(name), spec, set);
    }
    let is_written = |name: &String| variants.as_ref().is_some_and(|variants| variants.contains_key(name));
    if let Some((place, over)) = over {
        let place_of = |key: &str, name: &str| place.key(key).key(name);
        for name in over.variant_inputs.keys().filter(|name| !is_written(name)) {
            idle(sink, &place_of("variant_inputs", name), &format!("headwater.yaml has no variant `{name}`"));
        }
        for (name, spec) in &over.variants {
            let place = place_of("variants", name);
            if is_written(name) {
                let hint = "give the one in headwater.yaml another name, or take this one out";
                let message = format!("the variant `{name}` is in headwater.yaml too");
                sink.key_error("E024", &place, message, Some(hint.to_owned()));
            } else {
                add(sink, name, &place, spec, None);
            }
        }
    }
    if variants.is_none() {
        let only = Variant { name: String::new(), place: input_place, input: input.clone(), schedule: own_schedule };
        all.insert(0, only);
    }
    all
}

fn nothing_to_sync(sink: &mut Sink, place: &Place<'_>, provider: &str, available: Option<&&str>) {
    let (why, hint) = match available {
        None => ("has no syncs", format!("write integrations/{provider}/syncs/<name>.yaml")),
        Some(first) => {
            ("has no sync that starts by itself", format!("name one: `syncs: {{ {first}: {{ input: {{ … }} }} }}`"))
        }
    };
    let message = format!("the connection has nothing to sync: `{provider}` {why}");
    sink.warning("W082", place, message, Some(hint));
}
