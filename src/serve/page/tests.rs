//! What templates and style sheet promise.

use std::collections::BTreeMap;

use super::html::TEMPLATES;

const STYLE: &str = include_str!("templates/style.css");

/// The style sheet without comments.
fn style() -> String {
    let mut text = String::new();
    for piece in STYLE.split("/*") {
        text.push_str(piece.split_once("*/").map_or(piece, |(_, behind)| behind));
    }
    text
}

/// The colours of the first rules, for light and for dark.
fn colours(text: &str) -> [BTreeMap<String, [u8; 3]>; 2] {
    let mut blocks = text.split(":root {").skip(1).map(|block| block.split('}').next().expect("an end"));
    let mut read = || {
        let lines = blocks.next().expect("a block").split(';').filter_map(|line| line.trim().split_once(": #"));
        let byte = |hex: &str, at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        let of = |(name, hex): (&str, &str)| (name.to_owned(), [0, 2, 4].map(|at| byte(hex, at)));
        lines.map(of).collect::<BTreeMap<_, _>>()
    };
    [read(), read()]
}

/// The ratio of WCAG 2.2.
fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let linear = |byte: u8| {
        let part = f64::from(byte) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    let light = |[r, g, b]: [u8; 3]| 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    let (one, other) = (light(one), light(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// The name of the colour that a rule gives `property`.
fn named<'r>(rule: &'r str, property: &str) -> Option<&'r str> {
    let mut lines = rule.split(';').filter_map(|line| line.trim().split_once(':'));
    let value = lines.find(|(name, _)| *name == property)?.1;
    value.split_once("var(")?.1.split(')').next()
}

#[test]
fn every_text_can_be_read_on_its_ground_and_every_drawing_seen() {
    assert!((contrast([0, 0, 0], [255, 255, 255]) - 21.0).abs() < 0.001);
    let text = style();
    let themes = colours(&text);
    assert!(themes[0].len() > 20 && themes[0].keys().eq(themes[1].keys()), "{:?}", themes.map(|all| all.len()));
    let (mut checked, mut wrong) = (0, Vec::new());
    for (selector, rule) in text.split('}').filter_map(|rule| rule.rsplit_once('{')) {
        let ground = named(rule, "background");
        let grounds = ground.map_or(vec!["--page", "--card"], |ground| vec![ground]);
        // text needs 4.5; what is drawn, and the edge by which a field is known, 3
        let parts = [("color", 4.5), ("fill", 3.0), ("border", 3.0), ("border-color", 3.0), ("outline", 3.0)];
        for (name, least) in parts.iter().filter_map(|(part, least)| Some((named(rule, part)?, least))) {
            // a line between two rows only divides what can be told apart without it
            if name == "--line" || selector.contains(".first") && name == "--first" {
                continue;
            }
            for (theme, ground) in themes.iter().flat_map(|theme| grounds.iter().map(move |ground| (theme, ground))) {
                let ratio = contrast(theme[name], theme[*ground]);
                checked += 1;
                if ratio < *least {
                    wrong.push(format!("{}: {name} on {ground} is {ratio:.2}", selector.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 100, "the search finds what it looks for: {checked}");
}

#[test]
fn colours_have_names() {
    let text = style();
    let rules = text.rsplit(":root {").next().and_then(|text| text.split_once('}')).expect("rules").1;
    assert!(!rules.contains('#') && !rules.contains("rgb("), "a colour without a name");
}

#[test]
fn no_template_makes_text_to_html_or_holds_what_the_policy_forbids() {
    for (name, text) in TEMPLATES {
        for forbidden in
            ["|safe", "| safe", "autoescape", "<style", " style=", "<script>", " on", "http:", "https:", "javascript:"]
        {
            let found = match forbidden {
                " on" => text.split(" on").skip(1).any(|behind| {
                    behind.split_once('=').is_some_and(|(word, _)| word.chars().all(|c| c.is_ascii_lowercase()))
                }),
                other => text.contains(other),
            };
            assert!(!found, "{name}: {forbidden}");
        }
        // what is in an attribute stands in quotes
        assert!(!text.contains("={{"), "{name}");
    }
    assert!(TEMPLATES.len() > 10);
}

#[test]
fn every_form_that_changes_something_has_the_token() {
    for (name, text) in TEMPLATES {
        for form in text.split("<form ").skip(1) {
            let form = form.split("</form>").next().expect("an end");
            if form.starts_with("method=\"post\"") && !form.contains("action=\"/login\"") {
                assert!(form.contains("name=\"csrf\" value=\"{{ frame.csrf }}\""), "{name}: {form}");
            }
        }
    }
}
