//! A checked expression, written down for minijinja.
//!
//! All means the same as it did, but for the operators that copy or repeat: these become filters that keep account.

use super::environment::hidden;
use super::syntax::{Call, Expr, Link};

/// The expression as minijinja reads it.
pub(super) fn lower(expression: &Expr<'_>) -> String {
    match expression {
        Expr::Number(text) | Expr::Variable(text) => (*text).to_owned(),
        Expr::Word(word) => (*word).to_owned(),
        Expr::Text(texts) => texts.join(" "),
        Expr::List(items) => format!("[{}]", list(items)),
        Expr::Map(members) => {
            let members = members.iter().map(|(key, value)| format!("{}: {}", lower(key), lower(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        Expr::Chain(base, links) => chain(base, links),
        Expr::Negative(value) => format!("-{}", number(value, "-")),
        Expr::Not(value) => format!("not {}", operand(value)),
        Expr::Binary(first, rest) => binary(first, rest),
        Expr::Choice { then, test, otherwise } => {
            let otherwise = otherwise.as_ref().map(|value| format!(" else {}", operand(value)));
            format!("{} if {}{}", operand(then), operand(test), otherwise.unwrap_or_default())
        }
    }
}

fn list(items: &[Expr<'_>]) -> String {
    items.iter().map(lower).collect::<Vec<_>>().join(", ")
}

/// As an operand: in parentheses, unless nothing can come between.
fn operand(expression: &Expr<'_>) -> String {
    match expression {
        Expr::Chain(_, links) if links.iter().any(|link| matches!(link, Link::Test(..))) => {
            format!("({})", lower(expression))
        }
        Expr::Negative(_) | Expr::Not(_) | Expr::Binary(..) | Expr::Choice { .. } => format!("({})", lower(expression)),
        _ => lower(expression),
    }
}

fn number(expression: &Expr<'_>, operator: &str) -> String {
    match expression {
        Expr::Number(text) => (*text).to_owned(),
        expression => format!("({}|{}('{operator}'))", operand(expression), hidden::NUMBER),
    }
}

fn binary(first: &Expr<'_>, rest: &[(&'static str, Expr<'_>)]) -> String {
    let operators = rest.iter().map(|(operator, _)| *operator);
    let written: fn(&Expr<'_>, &str) -> String = match rest.first().map(|(operator, _)| *operator) {
        Some("~") => {
            let others: Vec<String> = rest.iter().map(|(_, value)| lower(value)).collect();
            return format!("{}|{}({})", operand(first), hidden::CONCAT, others.join(", "));
        }
        Some("in") => return format!("{} is in({})", operand(first), lower(&rest[0].1)),
        Some("not in") => return format!("{} is not in({})", operand(first), lower(&rest[0].1)),
        Some("or" | "and" | "==" | "!=" | "<" | "<=" | ">" | ">=") => |value, _| operand(value),
        // with a minus in the row there are only numbers to add
        Some("+" | "-") if operators.clone().all(|operator| operator == "+") => {
            |value, _| format!("({}|{})", operand(value), hidden::TERM)
        }
        _ => number,
    };
    let operator = operators.clone().find(|operator| *operator != "+").unwrap_or("+");
    let mut out = written(first, operator);
    for (operator, value) in rest {
        out.push_str(&format!(" {operator} {}", written(value, operator)));
    }
    out
}

fn chain(base: &Expr<'_>, links: &[Link<'_>]) -> String {
    let mut out = match base {
        Expr::Number(text) => format!("({text})"),
        base => operand(base),
    };
    let mut filtered = false;
    for link in links {
        let is_member = !matches!(link, Link::Filter(_) | Link::Test(..));
        if is_member && filtered {
            out = format!("({out})");
        }
        filtered = !is_member;
        match link {
            Link::Member(name) => out.push_str(&format!(".{name}")),
            Link::Item(item) => out.push_str(&format!("[{}]", lower(item))),
            Link::Slice(from, to) => {
                let edge = |edge: &Option<Expr<'_>>| edge.as_ref().map(lower).unwrap_or_default();
                out.push_str(&format!("[{}:{}]|{}", edge(from), edge(to), hidden::SLICE));
                filtered = true;
            }
            Link::Filter(call) => out.push_str(&format!("|{}", called(call))),
            Link::Test(negated, call) => {
                out.push_str(&format!(" is {}{}", if *negated { "not " } else { "" }, called(call)));
            }
        }
    }
    out
}

fn called(call: &Call<'_>) -> String {
    if call.args.is_empty() && call.named.is_empty() {
        return call.name.to_owned();
    }
    let named = call.named.iter().map(|(name, value)| format!("{name}={}", lower(value)));
    let args: Vec<String> = call.args.iter().map(lower).chain(named).collect();
    format!("{}({})", call.name, args.join(", "))
}
