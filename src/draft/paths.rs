//! Paths of requests with names in braces, as documentation writes them: `/lists/{list_id}/contacts`.

use serde_json::json;

use super::name::{column_name, unique};
use super::parts::Setting;

/// The path as a template over `input`, with a setting for each name that stands in braces; those that are there already are used. None
/// where it is no path: a brace that is not closed, a template, a query, or a space.
pub fn with_inputs(path: &str, settings: &mut Vec<(String, Setting)>) -> Option<String> {
    if !path.starts_with('/')
        || path.contains("{{")
        || path.contains("{%")
        || path.contains("{#")
        || path.contains(['?', '#'])
    {
        return None;
    }
    if path.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, behind) = rest.split_at(at);
        let (name, behind) = behind.strip_prefix('{')?.split_once('}')?;
        if name.is_empty() || name.contains('{') {
            return None;
        }
        out.push_str(before);
        out.push_str(&format!("{{{{ input.{} }}}}", input_of(name, settings)));
        rest = behind;
    }
    out.push_str(rest);
    Some(out)
}

/// The setting for what a document calls `name`, made if it is not there.
fn input_of(name: &str, settings: &mut Vec<(String, Setting)>) -> String {
    if let Some((_, setting)) = settings.iter().find(|(known, _)| known == name) {
        return setting.name.clone();
    }
    let own = unique(&column_name(name), |own| settings.iter().any(|(_, setting)| setting.name == own));
    let setting = Setting {
        name: own.clone(),
        schema: json!({ "type": "string" }),
        required: true,
        example: format!("some-{own}").into(),
    };
    settings.push((name.to_owned(), setting));
    own
}

#[cfg(test)]
mod tests {
    use super::with_inputs;

    #[test]
    fn names_in_braces_are_inputs() {
        let mut settings = Vec::new();
        let path = with_inputs("/repos/{owner}/{repo-name}/issues", &mut settings);
        assert_eq!(path.as_deref(), Some("/repos/{{ input.owner }}/{{ input.repo_name }}/issues"));
        assert_eq!(
            settings.iter().map(|(_, setting)| setting.name.as_str()).collect::<Vec<_>>(),
            ["owner", "repo_name"]
        );
        for bad in ["no/slash", "/a{b", "/a}b", "/{}", "/{a{b}}", "/{{ credentials.key }}", "/a?b", "/a b", "/{% x %}"]
        {
            assert_eq!(with_inputs(bad, &mut settings), None, "{bad}");
        }
    }
}
