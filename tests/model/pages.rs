//! The lists of a simulated API, page by page, in each of the ways in which pages are asked for.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::api::{Record, Sim};
use super::case::Fault;
use super::shape::{Deletes, Incremental, Paging};
use crate::support::{Reply, Request};

/// What is asked for.
#[derive(Default)]
pub struct Asked {
    query: BTreeMap<String, String>,
}

impl Asked {
    pub fn read(request: &Request) -> Self {
        let mut query: BTreeMap<_, _> = request.query.iter().cloned().collect();
        if let Ok(Value::Object(body)) = serde_json::from_str(&request.body)
            && let Some(variables) = body.get("variables").and_then(Value::as_object)
        {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            query.extend(variables.iter().map(|(name, value)| (name.clone(), text(value))));
        }
        Self { query }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    fn time(&self, name: &str) -> Option<i64> {
        self.text(name).map(|text| DateTime::parse_from_rfc3339(text).expect("a time").timestamp())
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.text(name).map(|text| text.parse().expect("a number"))
    }

    /// Where in the list, in words that an answer can say beforehand; empty at its beginning.
    pub fn position(&self) -> String {
        let word = |name: &str| self.text(name).map(|text| format!("{name}={text}"));
        let first = |text: &String| text != "page=1" && text != "offset=0";
        ["page", "offset", "after"].into_iter().find_map(word).filter(first).unwrap_or_default()
    }
}

fn moment(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).expect("a time").to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Sim {
    /// The whole list that is asked for, each with its key.
    fn list(&self, asked: &Asked) -> Result<Vec<((i64, i64), Record)>, ()> {
        let since = asked.time("since").unwrap_or(i64::MIN);
        let token = match asked.text("token") {
            None => None,
            Some(text) => Some(text.parse::<i64>().map_err(drop)?),
        };
        let (from, to) = (asked.time("from").unwrap_or(i64::MIN), asked.time("to").unwrap_or(i64::MAX));
        let own =
            |record: &Record| if self.shape.deletes == Deletes::AbsenceWindow { record.created_at } else { record.at };
        let mut list: Vec<_> = self
            .records
            .iter()
            .filter(|record| own(record) >= since && (from..=to).contains(&own(record)))
            .filter(|record| token.is_none_or(|token| record.seq > token))
            .map(|record| {
                let key = match self.shape.incremental {
                    Incremental::Ascending | Incremental::Window => (own(record), record.id),
                    Incremental::Descending | Incremental::StopAtWatermark => (-record.at, -record.id),
                    Incremental::Token => (record.seq, 0),
                    Incremental::None | Incremental::Unordered | Incremental::ClientFilter => (0, record.id),
                };
                (key, record.clone())
            })
            .collect();
        let sorted =
            !matches!(self.shape.incremental, Incremental::None | Incremental::Unordered | Incremental::ClientFilter);
        let by_key = !self.shape.paging.by_position() && self.shape.paging != Paging::None;
        if sorted || by_key {
            list.sort_by_key(|(key, _)| *key);
        }
        Ok(list)
    }

    /// A page of the list, where it says that the list goes on, and how many records are on it.
    pub fn page(&mut self, asked: &Asked, fault: Option<Fault>) -> Result<(Reply, Option<String>, usize), ()> {
        let shape = self.shape;
        let list = self.list(asked)?;
        let all = list.len();
        let skipped = match (asked.number("page"), asked.number("offset"), asked.text("after")) {
            (Some(page), ..) => ((page - 1) * shape.size).min(all),
            (_, Some(offset), _) => offset.min(all),
            (.., Some(key)) => {
                let (a, b) = key.split_once('_').expect("a key");
                let key = (a.parse().expect("a number"), b.parse().expect("a number"));
                list.iter().filter(|(of, _)| *of <= key).count()
            }
            _ => 0,
        };
        let size = if shape.paging == Paging::None { all } else { shape.size };
        let mut page: Vec<_> = list.into_iter().skip(skipped).take(size).collect();
        let mut more = skipped + page.len() < all;
        if fault == Some(Fault::Nothing) {
            (page, more) = (Vec::new(), false);
        }
        self.returned += page.len();
        let place = |key: &(i64, i64)| format!("{}_{}", key.0, key.1);
        let behind = page.last().map(|(key, _)| place(key)).filter(|_| more);
        let number = asked.number("page").unwrap_or(1) + 1;
        let (came, empty) = (page.len(), page.is_empty());
        let next = match shape.paging {
            Paging::None => None,
            Paging::LinkPages | Paging::NextUrlPages => more.then(|| format!("page={number}")),
            Paging::LinkKeys | Paging::NextUrlKeys | Paging::Cursor | Paging::Relay => {
                behind.as_ref().map(|key| format!("after={key}"))
            }
            Paging::LastRecord => page.last().map(|(key, _)| format!("after={}", place(key))),
            Paging::Offset => (!empty).then(|| format!("offset={}", skipped + came)),
            Paging::OffsetTotal => (more && !empty).then(|| format!("offset={}", skipped + came)),
            Paging::Page => (!empty).then(|| format!("page={number}")),
            Paging::PageTotal | Paging::PageTotalPages => (more && !empty).then(|| format!("page={number}")),
        };
        let mut items: Vec<Value> = page.iter().map(|(key, record)| self.shown(record, &place(key))).collect();
        if fault == Some(Fault::Keyless) && !empty {
            items.insert(0, json!({ "id": null, "at": moment(self.now), "place": "0_0" }));
        }
        let url = next.as_ref().map(|next| {
            let kept = asked.query.iter().filter(|(name, _)| *name != "page" && *name != "after");
            kept.fold(format!("{}/items?{next}", self.prefix), |url, (name, value)| format!("{url}&{name}={value}"))
        });
        let info = json!({ "hasNextPage": more, "endCursor": behind });
        let reply = match shape.paging {
            Paging::Relay => {
                let edges: Vec<_> = items.into_iter().map(|node| json!({ "node": node })).collect();
                Reply::json(
                    &json!({ "data": { "items": { "edges": edges, "pageInfo": info } }, "token": self.token(more) }),
                )
            }
            Paging::NextUrlPages | Paging::NextUrlKeys => {
                Reply::json(&json!({ "items": items, "next": url, "token": self.token(more) }))
            }
            _ => Reply::json(&json!({
                "items": items, "next": behind, "total": all, "pages": all.div_ceil(shape.size), "token": self.token(more)
            })),
        };
        Ok(match url.filter(|_| matches!(shape.paging, Paging::LinkPages | Paging::LinkKeys)) {
            Some(url) => (reply.with("link", &format!("<{url}>; rel=\"next\"")), next, came),
            None => (reply, next, came),
        })
    }

    fn token(&self, more: bool) -> Option<String> {
        (!more).then(|| self.seq.to_string())
    }

    fn shown(&self, record: &Record, place: &str) -> Value {
        let value = if record.fits { json!(record.value) } else { json!("none") };
        json!({
            "id": record.id, "value": value, "at": moment(record.at), "created_at": moment(record.created_at),
            "deleted": record.deleted, "place": place
        })
    }

    /// The lists of what is gone, and of what there is.
    pub fn other(&self, path: &str, asked: &Asked) -> (Reply, Option<String>, usize) {
        let items: Vec<_> = if path == "/deleted" {
            let since = asked.time("since").unwrap_or(i64::MIN);
            let gone = self.deleted.iter().filter(|(_, (at, _))| *at >= since);
            gone.map(|(id, (at, _))| json!({ "id": id, "at": moment(*at) })).collect()
        } else {
            self.records.iter().map(|record| json!({ "id": record.id })).collect()
        };
        (Reply::json(&json!({ "items": items })), None, 0)
    }
}
