//! What stands on which page, in which order, and how it is called.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};

use super::outline::{Id, Outline, Subject, is_root, root_id, targets};

/// A section on its page.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) id: Id,
    /// the subject whose page it stands on
    pub(super) subject: usize,
    /// 0 for the page itself
    pub(super) level: usize,
    /// the words that lead to it: `pagination.cursor`; `*` where several do
    pub(super) path: String,
    /// GitHub's name for its heading
    pub(super) slug: String,
    /// the words that lead to it and are not in its path
    pub(super) also: Vec<Edge>,
    /// several words lead to it
    pub(super) shared: bool,
}

/// A word that takes a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    /// the section of the word
    pub(super) from: Id,
    pub(super) word: String,
    names: Vec<&'static str>,
}

/// All pages: their sections in order, by subject.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) pages: Vec<Vec<Placed>>,
    by_id: HashMap<Id, (usize, usize)>,
}

impl Layout {
    /// Where a section stands.
    pub(super) fn find(&self, id: &str) -> &Placed {
        let (page, index) = self.by_id[id];
        &self.pages[page][index]
    }
}

/// A type that several kinds of documents share stands on one page: where it is nearest to the top, then where most words take it, then
/// where there is most beside it.
pub(super) fn layout(subjects: &[Subject<'_>], outline: &Outline<'_>) -> Layout {
    let edges = Edges::new(outline);
    let reaches: Vec<Reach> = subjects.iter().map(|subject| Reach::new(&root_id(subject.name), &edges)).collect();
    let mut home: HashMap<&Id, usize> = HashMap::new();
    let mut from_the_top: Vec<&Id> = outline.sections.keys().collect();
    from_the_top.sort_by_key(|id| reaches.iter().filter_map(|reach| reach.depth.get(*id)).min());
    for id in from_the_top {
        // what stands on this page, or may come to stand there
        let words = |at: usize, reach: &Reach| {
            let is_here = |from: &Id| home.get(from).map_or(reach.depth.contains_key(from), |home| *home == at);
            edges.to(id).iter().filter(|edge| is_here(&edge.from)).count()
        };
        let reached = reaches.iter().enumerate().filter_map(|(at, reach)| Some((at, reach, *reach.depth.get(id)?)));
        let rank = |(at, reach, depth): &(usize, &Reach, usize)| {
            (*depth, Reverse(words(*at, reach)), Reverse(reach.depth.len()))
        };
        if let Some((at, ..)) = reached.min_by_key(rank) {
            home.insert(id, at);
        }
    }
    let mut pages = Vec::new();
    for (subject, reach) in reaches.iter().enumerate() {
        let own: Vec<&Id> = reach.order.iter().filter(|id| home[*id] == subject).collect();
        pages.push(page(subject, subjects[subject].name, reach, &own, &edges));
    }
    let placed = |(page, sections): (usize, &Vec<Placed>)| -> Vec<(Id, (usize, usize))> {
        sections.iter().enumerate().map(|(index, section)| (section.id.clone(), (page, index))).collect()
    };
    let by_id = pages.iter().enumerate().flat_map(placed).collect();
    Layout { pages, by_id }
}

/// Which words lead from which section to which.
struct Edges {
    from: HashMap<Id, Vec<(Id, Edge)>>,
    to: HashMap<Id, Vec<Edge>>,
}

impl Edges {
    fn new(outline: &Outline<'_>) -> Self {
        let mut edges = Self { from: HashMap::new(), to: HashMap::new() };
        for (id, section) in &outline.sections {
            for word in &section.words {
                for (target, names) in targets(&word.takes) {
                    let edge = Edge { from: id.clone(), word: word.name.to_owned(), names };
                    edges.to.entry(target.clone()).or_default().push(edge.clone());
                    edges.from.entry(id.clone()).or_default().push((target.clone(), edge));
                }
            }
        }
        edges
    }

    fn from(&self, id: &str) -> &[(Id, Edge)] {
        self.from.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    fn to(&self, id: &str) -> &[Edge] {
        self.to.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}

/// What can be written in one kind of document. Another kind of document inside of it is left to its own page.
struct Reach {
    /// as a reader meets them from top to bottom
    order: Vec<Id>,
    /// how many words lead there, at least
    depth: HashMap<Id, usize>,
    /// the section that every way to it goes through; the nearest such
    dominator: HashMap<Id, Id>,
}

impl Reach {
    fn new(root: &Id, edges: &Edges) -> Self {
        let inside = |id: &Id| is_root(id).is_none();
        let mut depth = HashMap::from([(root.clone(), 0)]);
        let mut queue = VecDeque::from([root.clone()]);
        while let Some(id) = queue.pop_front() {
            for (target, _) in edges.from(&id).iter().filter(|(target, _)| inside(target)) {
                if !depth.contains_key(target) {
                    depth.insert(target.clone(), depth[&id] + 1);
                    queue.push_back(target.clone());
                }
            }
        }
        let mut order = Vec::new();
        let mut stack = vec![root.clone()];
        while let Some(id) = stack.pop() {
            if !order.contains(&id) {
                stack.extend(edges.from(&id).iter().rev().map(|(target, _)| target.clone()).filter(inside));
                order.push(id);
            }
        }
        let dominator = dominators(&order, edges);
        Self { order, depth, dominator }
    }
}

/// The immediate dominator of each section but the first, by the data-flow equations: what dominates all that lead to it.
fn dominators(order: &[Id], edges: &Edges) -> HashMap<Id, Id> {
    let known: HashSet<&Id> = order.iter().collect();
    let all: HashSet<&Id> = known.clone();
    let mut sets: HashMap<&Id, HashSet<&Id>> = order.iter().map(|id| (id, all.clone())).collect();
    if let Some(root) = order.first() {
        sets.insert(root, HashSet::from([root]));
    }
    loop {
        let mut changed = false;
        for id in order.iter().skip(1) {
            let mut common = all.clone();
            for edge in edges.to(id).iter().filter(|edge| known.contains(&edge.from)) {
                common.retain(|other| sets[&edge.from].contains(other));
            }
            common.insert(id);
            if common != sets[id] {
                sets.insert(id, common);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let nearest = |id: &Id| {
        let above = sets[id].iter().copied().filter(|other| *other != id);
        above.max_by_key(|other| sets[other].len()).cloned()
    };
    order.iter().filter_map(|id| Some((id.clone(), nearest(id)?))).collect()
}

/// The sections of one page, nested by what every way to them goes through: what several share stands behind all of them.
fn page(subject: usize, name: &str, reach: &Reach, own: &[&Id], edges: &Edges) -> Vec<Placed> {
    let mut children: HashMap<&Id, Vec<&Id>> = HashMap::new();
    for id in own {
        let mut parent = reach.dominator.get(*id);
        while let Some(above) = parent.filter(|above| !own.contains(above)) {
            parent = reach.dominator.get(above);
        }
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(id);
        }
    }
    for (parent, below) in &mut children {
        let direct = |id: &Id| edges.from(parent).iter().position(|(target, _)| target == id);
        below.sort_by_key(|id| direct(id).unwrap_or(usize::MAX));
    }
    let places = places(reach, edges);
    let mut slugs = Slugs::default();
    let mut placed = Vec::new();
    let mut stack: Vec<(&Id, usize)> = own.first().map(|root| (*root, 0)).into_iter().collect();
    while let Some((id, level)) = stack.pop() {
        let (path, shown) = path(&places[id]);
        let also = edges.to(id).iter().filter(|edge| !shown.contains(edge)).cloned().collect();
        let slug = slugs.of(if level == 0 { name } else { &path });
        let shared = edges.to(id).len() > 1;
        placed.push(Placed { id: id.clone(), subject, level, path, slug, also, shared });
        let below = children.get(id).into_iter().flatten().rev();
        stack.extend(below.map(|child| (*child, level + 1)));
    }
    placed
}

/// A way from the top of a document to a section.
#[derive(Debug, Clone, Default)]
struct Way {
    steps: Vec<String>,
    last: Option<Edge>,
}

/// Ways to one section that are looked at.
const WAYS_MAX: usize = 64;

/// The shortest ways to each section.
fn places(reach: &Reach, edges: &Edges) -> HashMap<Id, Vec<Way>> {
    let mut by_depth: Vec<&Id> = reach.order.iter().collect();
    by_depth.sort_by_key(|id| reach.depth[*id]);
    let mut places: HashMap<Id, Vec<Way>> = HashMap::new();
    for id in by_depth {
        let mut ways = Vec::new();
        let depth = reach.depth[id];
        let shortest = |edge: &&Edge| reach.depth.get(&edge.from).is_some_and(|above| above + 1 == depth);
        for edge in edges.to(id).iter().filter(shortest) {
            for above in &places[&edge.from] {
                let mut steps = above.steps.clone();
                steps.push(edge.word.clone());
                steps.extend(edge.names.iter().map(|name| (*name).to_owned()));
                ways.push(Way { steps, last: Some(edge.clone()) });
            }
        }
        ways.truncate(WAYS_MAX);
        if ways.is_empty() {
            ways.push(Way::default());
        }
        places.insert(id.clone(), ways);
    }
    places
}

/// The path that stands for the ways, with `*` where they differ, and the words it stands for.
fn path(ways: &[Way]) -> (String, Vec<&Edge>) {
    let first = &ways[0];
    let alike: Vec<&Way> = ways.iter().filter(|way| way.steps.len() == first.steps.len()).collect();
    let step = |at: usize| {
        let same = alike.iter().all(|way| way.steps[at] == first.steps[at]);
        if same { first.steps[at].as_str() } else { "*" }
    };
    let steps: Vec<&str> = (0..first.steps.len()).map(step).collect();
    // words of one map that take the same: the first stands for all
    if steps.last().is_some_and(|last| *last == "*") {
        return (first.steps.join("."), first.last.iter().collect());
    }
    (steps.join("."), alike.iter().filter_map(|way| way.last.as_ref()).collect())
}

/// Anchors as GitHub makes them from headings.
#[derive(Debug, Default)]
struct Slugs {
    used: HashMap<String, usize>,
}

impl Slugs {
    fn of(&mut self, heading: &str) -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase();
        let count = self.used.entry(slug.clone()).or_insert(0);
        *count += 1;
        if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
    }
}
