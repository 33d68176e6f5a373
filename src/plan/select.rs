//! Which syncs a command line means.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{ActionPlan, Plan, SyncId, SyncPlan};
use crate::diagnostic::suggest;

/// A selector that names no sync.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{selector}` names no sync of this project")]
pub struct UnknownSelector {
    /// what was written
    pub selector: String,
    /// the likely fix
    pub hint: Option<String>,
}

impl Plan {
    /// The syncs that any of `selectors` names, in the plan's order; all where there is no selector. A selector is a provider, a
    /// connection, either with `/sync`, and that with `@variant`.
    ///
    /// # Errors
    /// The first selector that names nothing.
    pub fn select(&self, selectors: &[String]) -> Result<Vec<Arc<SyncPlan>>, UnknownSelector> {
        for selector in selectors {
            if !self.syncs.iter().any(|sync| names(selector, &sync.id)) {
                let known: Vec<String> = self.syncs.iter().map(|sync| sync.id.to_string()).collect();
                let owners =
                    self.syncs.iter().flat_map(|sync| [sync.id.connection.as_str(), sync.id.provider.as_str()]);
                let all: BTreeSet<&str> = known.iter().map(String::as_str).chain(owners).collect();
                return Err(UnknownSelector { selector: selector.clone(), hint: suggest(selector, all) });
            }
        }
        Ok(self.syncs.iter().filter(|sync| sync.id.is_any_of(selectors)).cloned().collect())
    }
}

impl SyncId {
    /// Whether any of `selectors` names it, or there is none.
    pub fn is_any_of(&self, selectors: &[String]) -> bool {
        selectors.is_empty() || selectors.iter().any(|selector| names(selector, self))
    }
}

impl Plan {
    /// The actions that any of `selectors` names; all where there is no selector. A selector is a provider, a connection, or either
    /// with `/action`.
    pub fn select_actions(&self, selectors: &[String]) -> Vec<Arc<ActionPlan>> {
        let named = |action: &ActionPlan| {
            let ActionPlan { name, connection, .. } = action;
            selectors.iter().any(|selector| {
                let (owner, of) =
                    selector.split_once('/').map_or((selector.as_str(), None), |(owner, of)| (owner, Some(of)));
                [&connection.name, &connection.provider].into_iter().any(|known| known == owner)
                    && of.is_none_or(|of| of == name)
            })
        };
        self.actions.iter().filter(|action| selectors.is_empty() || named(action)).cloned().collect()
    }
}

fn names(selector: &str, id: &SyncId) -> bool {
    let (selector, variant) = match selector.split_once('@') {
        Some((rest, variant)) => (rest, Some(variant)),
        None => (selector, None),
    };
    let (owner, sync) = match selector.split_once('/') {
        Some((owner, sync)) => (owner, Some(sync)),
        None => (selector, None),
    };
    (owner == id.connection || owner == id.provider)
        && sync.is_none_or(|sync| sync == id.sync)
        && variant.is_none_or(|variant| variant == id.variant)
}
