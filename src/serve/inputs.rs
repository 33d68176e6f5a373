//! What syncs take as input, and their variants: seen, set, made and taken away.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, put};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Denied, ok};
use super::api::Route;
use super::control::{self, Body, read};
use super::http::Listening;
use super::openapi::{at, body, object, of, responses};
use super::plans::Standing;
use super::records::{Parameters, each};
use crate::diagnostic::suggest;
use crate::files::{Overlay, Owner};
use crate::plan::{ApiScope, InputPlan, SyncId, limits};

/// The ways to ask.
pub(super) fn routes() -> Vec<Route> {
    const INPUT: &str = "/v1/syncs/{connection}/{sync}/input";
    const VARIANT: &str = "/v1/syncs/{connection}/{sync}/variants/{variant}";
    let (sees, steers) = (Some(ApiScope::Syncs), Some(ApiScope::Control));
    vec![
        Route { path: INPUT, method: "get", scope: sees, answers: get(show) },
        Route { path: INPUT, method: "put", scope: steers, answers: put(set) },
        Route { path: INPUT, method: "delete", scope: steers, answers: delete(unset) },
        Route { path: VARIANT, method: "put", scope: steers, answers: put(make) },
        Route { path: VARIANT, method: "delete", scope: steers, answers: delete(remove) },
    ]
}

type SyncPath = Path<(String, String)>;
type VariantPath = Path<(String, String, String)>;

/// A sync of a connection, and one of its variants.
#[derive(Clone)]
struct Named {
    owner: Owner,
    variant: Option<String>,
}

impl Named {
    fn of((connection, sync): (String, String)) -> Self {
        let (sync, variant) = match sync.split_once('@') {
            Some((sync, variant)) => (sync.to_owned(), Some(variant.to_owned())),
            None => (sync, None),
        };
        Self { owner: Owner { connection, sync }, variant }
    }

    /// What the sync takes, if it is there, and so is the variant.
    fn find<'s>(&self, standing: &'s Standing) -> Result<&'s InputPlan, Denied> {
        let found = sync_of(standing, &self.owner)?;
        let Some(variant) = &self.variant else { return Ok(found) };
        let known = variants(standing, &self.owner);
        if known.iter().any(|known| known == variant) && !variant.is_empty() {
            return Ok(found);
        }
        let hint = suggest(variant, known.into_iter().filter(|known| !known.is_empty()));
        Err(unknown(&format!("{}/{}@{variant}", self.owner.connection, self.owner.sync), hint))
    }
}

fn unknown(what: &str, hint: Option<String>) -> Denied {
    let denied = Denied::new(StatusCode::NOT_FOUND, "unknown_sync", format!("there is no sync `{what}`"));
    Denied { hint, ..denied }
}

fn sync_of<'s>(standing: &'s Standing, Owner { connection, sync }: &Owner) -> Result<&'s InputPlan, Denied> {
    let inputs = &standing.plan.inputs;
    let found = inputs.iter().find(|input| input.connection == *connection && input.sync == *sync);
    found.ok_or_else(|| {
        let known: Vec<_> = inputs.iter().map(|input| format!("{}/{}", input.connection, input.sync)).collect();
        let name = format!("{connection}/{sync}");
        unknown(&name, suggest(&name, known.iter().map(String::as_str)))
    })
}

/// The names of a sync's variants; empty for the one without a name.
fn variants<'s>(standing: &'s Standing, Owner { connection, sync }: &Owner) -> Vec<&'s str> {
    let ids = standing.plan.syncs.iter().map(|sync| &sync.id);
    let own = ids.filter(|id| id.connection == *connection && id.sync == *sync);
    own.map(|id| id.variant.as_str()).collect()
}

/// How a sync is, whole or one of its variants.
fn shown(standing: &Standing, named: &Named) -> Answer {
    let InputPlan { connection, provider, sync, schema } = named.find(standing)?;
    let owner = &named.owner;
    let own = standing.plan.syncs.iter().filter(|plan| plan.id.connection == *connection && plan.id.sync == *sync);
    let wanted = own.filter(|plan| named.variant.as_ref().is_none_or(|variant| *variant == plan.id.variant));
    let variants = wanted.map(|plan| {
        let variant = plan.id.variant.as_str();
        json!({
            "id": plan.id.to_string(), "variant": variant, "input": plan.input, "schedule": plan.schedule.words(),
            "made": standing.overlay.has_made(owner, variant),
            "set": standing.overlay.set_input(owner, Some(variant).filter(|variant| !variant.is_empty())),
        })
    });
    ok(&json!({
        "connection": connection, "provider": provider, "sync": sync, "schema": schema,
        "set": standing.overlay.set_input(owner, None), "variants": variants.collect::<Vec<_>>(),
    }))
}

/// `GET /v1/syncs/{connection}/{sync}/input`
async fn show(State(listening): State<Arc<Listening>>, Path(path): SyncPath, Query(parameters): Parameters) -> Answer {
    each(&parameters, &[], |_, _| Ok(()))?;
    shown(&listening.plans.standing(), &Named::of(path))
}

/// `PUT /v1/syncs/{connection}/{sync}/input`
async fn set(State(listening): State<Arc<Listening>>, Path(path): SyncPath, body: Body) -> Answer {
    if body.as_ref().is_ok_and(|body| body.iter().all(u8::is_ascii_whitespace)) {
        return Err(Denied::bad("the body is empty", "send the input as a JSON object: `{}` is one too"));
    }
    put_input(&listening, Named::of(path), Some(read(body)?)).await
}

/// `DELETE /v1/syncs/{connection}/{sync}/input`
async fn unset(State(listening): State<Arc<Listening>>, Path(path): SyncPath) -> Answer {
    put_input(&listening, Named::of(path), None).await
}

async fn put_input(listening: &Listening, named: Named, input: Option<Map<String, Value>>) -> Answer {
    let of = named.clone();
    let edit = move |standing: &Standing, overlay: &mut Overlay| {
        of.find(standing)?;
        overlay.put_input(&of.owner, of.variant.as_deref(), input);
        Ok(())
    };
    let (standing, _) = listening.plans.change(None, edit).await?;
    shown(&standing, &named)
}

/// `PUT /v1/syncs/{connection}/{sync}/variants/{variant}`
async fn make(State(listening): State<Arc<Listening>>, Path(path): VariantPath, body: Body) -> Answer {
    let (words, (connection, sync, variant)) = (read(body)?, path);
    let named = Named { owner: Owner { connection, sync }, variant: Some(variant) };
    let (owner, variant) = (named.owner.clone(), named.variant.clone().unwrap_or_default());
    let edit = move |standing: &Standing, overlay: &mut Overlay| {
        sync_of(standing, &owner)?;
        if !overlay.has_made(&owner, &variant) {
            not_written(standing, &owner, &variant)?;
            if overlay.made(&owner) >= limits::API_VARIANTS_MAX {
                let message = format!("the API has made {} variants of this sync", limits::API_VARIANTS_MAX);
                return Err(Denied::new(StatusCode::CONFLICT, "too_many", message).hint("delete one of them"));
            }
        }
        let hint =
            "it has `input`, an object, and `schedule`: `every 15m`, `manual`, or `{ \"cron\": \"0 6 * * 1-5\" }`";
        let put = overlay.put_variant(&owner, &variant, words);
        put.map_err(|why| Denied::bad(format!("the body is not as it should be: {why}"), hint))
    };
    let (standing, _) = listening.plans.change(None, edit).await?;
    shown(&standing, &named)
}

/// `DELETE /v1/syncs/{connection}/{sync}/variants/{variant}`
async fn remove(
    State(listening): State<Arc<Listening>>,
    Path((connection, sync, variant)): VariantPath,
    Query(parameters): Parameters,
) -> Answer {
    let mut purge = false;
    each(&parameters, &["purge"], |_, value| {
        purge = value.parse().map_err(|_| {
            let hint = "it is `true` or `false`";
            Denied::bad(format!("`{value}` is not a value of `purge`"), hint)
        })?;
        Ok(())
    })?;
    let owner = Owner { connection, sync };
    let provider = sync_of(&listening.plans.standing(), &owner)?.provider.clone();
    let id =
        SyncId { connection: owner.connection.clone(), provider, sync: owner.sync.clone(), variant: variant.clone() };
    let edit = move |standing: &Standing, overlay: &mut Overlay| {
        if !overlay.has_made(&owner, &variant) {
            not_written(standing, &owner, &variant)?;
            let known = variants(standing, &owner).into_iter().filter(|known| overlay.has_made(&owner, known));
            let hint = suggest(&variant, known);
            return Err(unknown(&format!("{}/{}@{variant}", owner.connection, owner.sync), hint));
        }
        overlay.remove_variant(&owner, &variant);
        Ok(())
    };
    let (_, forgotten) = listening.plans.change(purge.then(|| id.clone()), edit).await?;
    Ok(control::forgotten_of(&[id.to_string()], &forgotten))
}

/// A variant of headwater.yaml belongs to whoever wrote it.
fn not_written(standing: &Standing, owner: &Owner, variant: &str) -> Result<(), Denied> {
    let made = standing.overlay.has_made(owner, variant);
    if made || !variants(standing, owner).contains(&variant) {
        return Ok(());
    }
    let message = format!("the variant `{variant}` is in headwater.yaml");
    let hint = format!("set its input with `PUT /v1/syncs/{}/{}@{variant}/input`", owner.connection, owner.sync);
    Err(Denied::new(StatusCode::CONFLICT, "in_file", message).hint(hint))
}

/// The ways to ask, for machines.
pub(super) fn paths() -> Value {
    let sync = [at("connection", "Name of the connection."), at("sync", "Name of the sync; `name@variant` for one.")];
    let variant = [
        at("connection", "Name of the connection."),
        at("sync", "Name of the sync."),
        at("variant", "Name of the variant."),
    ];
    let answers = || responses(("200", "How it is now.", "Input"));
    json!({
        "/v1/syncs/{connection}/{sync}/input": {
            "parameters": sync,
            "get": {
                "operationId": "getInput", "summary": "What a sync takes as input, and what each of its variants has.",
                "description": "Scope: `syncs`.", "responses": answers(),
            },
            "put": {
                "operationId": "setInput", "summary": "Set the input of a sync, over headwater.yaml; of a variant with `name@variant`.",
                "description": "Scope: `control`. The next run has it: as with any change of an input, it reads everything again.",
                "requestBody": { "required": true, "content": of("InputBody") }, "responses": answers(),
            },
            "delete": {
                "operationId": "unsetInput", "summary": "Let the input be that of headwater.yaml again.",
                "description": "Scope: `control`.", "responses": answers(),
            },
        },
        "/v1/syncs/{connection}/{sync}/variants/{variant}": {
            "parameters": variant,
            "put": {
                "operationId": "setVariant", "summary": "Make a variant of a sync, or make it anew.",
                "description": "Scope: `control`. It has rows and state of its own, and runs by its schedule.",
                "requestBody": { "required": false, "content": of("VariantBody") }, "responses": answers(),
            },
            "delete": {
                "operationId": "deleteVariant", "summary": "Take a variant away that the API has made. Not while it runs.",
                "description": "Scope: `control`.",
                "parameters": [{
                    "name": "purge", "in": "query", "schema": { "type": "boolean", "default": false },
                    "description": "Remove its rows and what it remembers. Without it a variant made again goes on where this one was.",
                }],
                "responses": responses(("200", "It has gone.", "Forgotten")),
            },
        },
    })
}

/// What is sent and answered here.
pub(super) fn schemas() -> Value {
    let (string, map) = (json!({ "type": "string" }), json!({ "type": "object" }));
    let set = json!({ "type": ["object", "null"], "description": "What the API has set; null: nothing." });
    let schedule = json!({
        "description": "When it runs by itself: `every 15m`, `manual`, or by the calendar.",
        "anyOf": [{ "type": "string" }, {
            "type": "object", "required": ["cron"], "additionalProperties": false,
            "properties": { "cron": string, "timezone": string },
        }],
    });
    let variant = json!({
        "id": string, "variant": string, "schedule": schedule, "set": set,
        "input": { "type": "object", "description": "What runs have: the defaults of the schema are filled in." },
        "made": { "type": "boolean", "description": "The API has made it." },
    });
    json!({
        "Input": object(&json!({
            "connection": string, "provider": string, "sync": string, "set": set,
            "schema": { "type": ["object", "boolean", "null"], "description": "JSON Schema of the input; null: it takes anything." },
            "variants": { "type": "array", "items": object(&variant) },
        })),
        "InputBody": map,
        "VariantBody": body(&json!({
            "input": { "type": "object", "description": "Over that of the sync, key by key." }, "schedule": schedule,
        })),
    })
}
