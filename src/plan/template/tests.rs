//! Laws of expressions; what each of them means is in `tests/templates/`.

use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior, context};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::lower::lower;
use super::{Template, syntax, table};
use crate::plan::limits;

fn variables() -> Value {
    context! {
        n => 7, m => -2, t => "Ab, c", flag => true, none => (), list => vec![3, 1, 2], words => vec!["b", "a"],
        map => context! { a => 1, b => context! { c => "x" } },
    }
}

fn value(text: &str, variables: &Value) -> Result<Option<Json>, String> {
    let template = Template::parse(text).map_err(|error| error.0)?;
    template.value(variables).map_err(|error| error.0)
}

/// Expressions whose meaning is minijinja's own.
fn expression() -> impl Strategy<Value = String> {
    let names = ["n", "m", "t", "flag", "list", "words", "map", "map.a", "map.b.c", "list[0]", "list[-1]"];
    let literals = ["0", "1", "2.5", "true", "'b'", "'x'", "[1, 2]", "{'a': 2}", "[1, 'b']"];
    let leaf = prop::sample::select([names.as_slice(), literals.as_slice()].concat()).prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let binary = ["+", "-", "*", "/", "//", "%", "==", "!=", "<", ">=", "and", "or", "in", "not in"];
        let filters = ["| first", "| length", "| sort", "| list", "| upper", "| abs", "| default(1, true)", "| last"];
        let tests = ["is defined", "is not none", "is odd", "is string", "is eq 1", "is in [1, 2]"];
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            4 => (two.clone(), prop::sample::select(binary.to_vec())).prop_map(|((a, b), op)| format!("{a} {op} {b}")),
            2 => (two.clone(), prop::sample::select(binary.to_vec())).prop_map(|((a, b), op)| format!("({a}) {op} ({b})")),
            2 => (inner.clone(), prop::sample::select(filters.to_vec())).prop_map(|(a, f)| format!("{a} {f}")),
            1 => (inner.clone(), prop::sample::select(tests.to_vec())).prop_map(|(a, t)| format!("{a} {t}")),
            1 => inner.clone().prop_map(|a| format!("({a})")),
            1 => two.clone().prop_map(|(a, b)| format!("(not {a} and {b})")),
            1 => inner.clone().prop_map(|a| format!("-{a}")),
            1 => inner.clone().prop_map(|a| format!("[{a}, 1]")),
            1 => inner.clone().prop_map(|a| format!("({a})[:2]")),
            1 => (two, inner).prop_map(|((a, b), c)| format!("{a} if {b} else {c}")),
        ]
    })
}

/// Where the language differs from minijinja on purpose, and so says something else.
fn is_own(source: &str, said: &str) -> bool {
    let spoken =
        ["takes numbers", "in a row", "nested deeper", "is a list or a map", "no value", "unable", "more than 64"];
    spoken.iter().any(|part| said.contains(part)) || source.contains("is ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What is parsed here and written down again for minijinja means what minijinja takes it for itself.
    #[test]
    fn an_expression_means_what_jinja_means(source in expression()) {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        let theirs = environment.compile_expression(&source).and_then(|compiled| compiled.eval(variables()));
        let theirs = theirs.map(|value| if value.is_none() || value.is_undefined() { None } else { serde_json::to_value(value).ok() });
        match (value(&format!("{{{{ {source} }}}}"), &variables()), theirs) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs, "{}", source),
            (Err(said), Ok(theirs)) => prop_assert!(is_own(&source, &said), "{source}: {said}, not {theirs:?}"),
            (Ok(ours), Err(error)) => prop_assert!(ours.is_none() || is_own(&source, ""), "{source}: {ours:?}, not {error:#}"),
            (Err(_), Err(_)) => {}
        }
    }

    /// Whatever is written, there is an answer, and in its bounds.
    #[test]
    fn any_text_is_a_template_or_a_mistake(
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..40),
    ) {
        let text = format!("{{{{ {} }}}}", pieces.join(" "));
        if let Ok(template) = Template::parse(&text) {
            drop((template.value(&variables()), template.render_path(&variables()), template.is_true(&variables())));
        }
    }
}

const PIECES: [&str; 44] = [
    "n", "t", "list", "map", "none", "true", "1", "0", "2.5", "'a'", "''", "'%Y'", "'-1d'", "(", ")", "[", "]", "{",
    "}", ",", ":", ".a", ".", "|", "~", "+", "-", "*", "**", "//", "%", "==", "<", "in", "not", "and", "if", "else",
    "is", "upper", "default", "map", "a=", "odd",
];

#[test]
fn every_filter_and_test_bears_any_value() {
    let inputs = [
        "n",
        "m",
        "t",
        "flag",
        "none",
        "missing",
        "list",
        "words",
        "map",
        "2.5",
        "-0.0",
        "''",
        "[]",
        "{}",
        "[none, [1], {}]",
    ];
    let arguments =
        ["", "('a')", "(1)", "(0)", "(-1)", "(none)", "([1])", "({})", "('a', 'b')", "('', '')", "(1, 1)", "(n, list)"];
    let mut ran = 0;
    for filter in table::filters() {
        for input in inputs {
            for argument in arguments {
                ran +=
                    usize::from(value(&format!("{{{{ {input} | {}{argument} }}}}", filter.name), &variables()).is_ok());
            }
        }
    }
    for name in table::test_names() {
        for input in inputs {
            for argument in ["", "(0)", "('a')", "([1])", "(none)", "(missing)", "(-1)"] {
                ran += usize::from(value(&format!("{{{{ {input} is {name}{argument} }}}}"), &variables()).is_ok());
            }
        }
    }
    assert!(ran > 2_000, "only {ran} make sense");
}

/// What is large comes from one megabyte of text and a long list, again and again.
#[test]
fn what_is_made_of_much_is_refused() {
    let variables = context! {
        text => "\"\\&".repeat(1 << 20), list => (0..200_000).collect::<Vec<u32>>(), texts => vec!["x"; 10_000],
    };
    let many = |piece: &str, by: &str, times: usize| vec![piece; times].join(by);
    let sources = [
        many("text", " ~ ", 200),
        many("text", " + ", 200),
        format!("[{}] | json", many("text", ", ", 200)),
        format!("[{}] | join", many("text", ", ", 200)),
        format!("[{}] | join(text)", many("''", ", ", 200)),
        format!("[{}]", many("text", ", ", 200)),
        format!("{{'a': [{}]}}", many("text", ", ", 200)),
        format!("[{}] in text", many("text", ", ", 200)),
        format!("'x' ~ [{}]", many("text", ", ", 200)),
        format!("[{}]", many("text[1:]", ", ", 200)),
        format!("text{}", " | json".repeat(200)),
        format!("text{}", " | base64".repeat(200)),
        format!("text{}", " | urlencode".repeat(150)),
        format!("text{}", " | escape".repeat(200)),
        format!("text{}", " | replace('\\\\', '\\\\\\\\')".repeat(60)),
        "text | replace('', text)".to_owned(),
        "text | list".to_owned(),
        "text | split('')".to_owned(),
        "texts | map('replace', 'x', text)".to_owned(),
        "texts | map('default', 1) | map('hmac_sha256', text) | map('replace', '', text) | list".to_owned(),
        format!("({}) | list", many("list", " + ", 100)),
        format!("list | chain({}) | list", many("list", ", ", 100)),
        format!("list{}", " | sort".repeat(100)),
        "list | select('in', list) | list".to_owned(),
        "list | reject('in', list) | list".to_owned(),
        "texts | select('in', text) | list".to_owned(),
        format!("[{}] | string", many("text", ", ", 200)),
    ];
    for source in sources {
        let said = value(&format!("{{{{ {source} }}}}"), &variables);
        let is_small = said.as_ref().is_ok_and(|value| *value == Some(json!(false)));
        let is_refused =
            said.as_ref().is_err_and(|said| said.contains("makes more than 16 MiB") || said.contains("list or a map"));
        assert!(is_small || is_refused, "{source:.60}: {:.200}", format!("{said:?}"));
    }
}

#[test]
fn depth_and_length_have_bounds() {
    let nested =
        |open: &str, close: &str, depth: usize| format!("{{{{ {}n{} }}}}", open.repeat(depth), close.repeat(depth));
    let pairs = [
        ("(", ")"),
        ("[", "]"),
        ("{'a': ", "}"),
        ("not ", ""),
        ("-", ""),
        ("list[", "]"),
        ("n | default(", ")"),
        ("n is eq(", ")"),
        ("1 if n else ", ""),
        ("1 + (2 * ", ")"),
        ("(-", ")"),
        ("(t ~ ", ")"),
        ("not (", ")"),
    ];
    for (open, close) in pairs {
        let message = |depth| Template::parse(&nested(open, close, depth)).err().map(|error| error.0);
        assert!(message(limits::EXPRESSION_DEPTH_MAX / 2 - 1).is_none(), "{open}: {:?}", message(19));
        for depth in [41, 150, 400] {
            let said = message(depth).unwrap_or_else(|| panic!("{open} {depth} times"));
            assert!(said.contains("nested") || said.contains("too long"), "{open}: {said}");
        }
    }
    // what stands in a row is not nested
    for row in [" + n", " * n", " and n", ".a", "[0]", " | default", " is defined", " ~ n", " == n", " if n"] {
        for times in [1, 50, 190] {
            drop(
                Template::parse(&format!("{{{{ n{} }}}}", row.repeat(times)))
                    .map(|template| template.value(&variables())),
            );
        }
    }
    let long = |bytes: usize| Template::parse(&format!("{{{{ '{}' }}}}", "a".repeat(bytes))).is_ok();
    assert!(long(limits::EXPRESSION_BYTES_MAX - 2) && !long(limits::EXPRESSION_BYTES_MAX - 1));
    assert!(Template::parse(&"{{ n }}".repeat(limits::EXPRESSIONS_MAX)).is_ok());
    assert!(Template::parse(&"{{ n }}".repeat(10_000)).is_err());
    let wide = Template::parse(&"{{ t }}".repeat(20)).expect("parses");
    let said = wide.value(&context! { t => "x".repeat(limits::TEMPLATE_BYTES_MAX / 10) }).expect_err("too much").0;
    assert!(said.contains("yields more than 1048576 bytes"), "{said}");
}

#[test]
fn operators_are_written_down_as_filters_that_keep_account() {
    let lowered = |source: &str| lower(&syntax::parse(source).expect("parses"));
    assert_eq!(lowered("a ~ b ~ c | f"), "a|_concat(b, c|f)");
    assert_eq!(lowered("a + b"), "(a|_term) + (b|_term)");
    assert_eq!(lowered("a * 2 / c"), "(a|_number('*')) * 2 / (c|_number('/'))");
    assert_eq!(lowered("a.b[1:][0].c"), "(a.b[1:]|_slice)[0].c");
    assert_eq!(lowered("a not in b and c"), "(a is not in(b)) and c");
    assert_eq!(lowered("(a | f).b | g"), "(a|f).b|g");
    assert_eq!(lowered("-a.b if c is odd else 'd' 'e'"), "(-(a.b|_number('-'))) if (c is odd) else 'd' 'e'");
}
