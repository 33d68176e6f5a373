//! The way over the browser (RFC 6749, 4.1): where a person is sent, and what they bring back.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minijinja::Value as Variables;
use ring::{digest, hmac};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use super::super::redact::Redactor;
use super::request::{add, form, text, web_address};
use crate::plan::{Pkce, Template, limits};

/// What a person is asked to agree to.
pub(crate) struct Authorize<'a> {
    /// the application's id
    pub client_id: &'a str,
    /// where the person is sent back to
    pub redirect_uri: &'a str,
    /// joined as the API wants them; may be empty
    pub scope: &'a str,
    /// a random text that comes back
    pub state: &'a str,
    /// how the code is bound to who asked for it
    pub pkce: Pkce,
    /// the random text it is bound by
    pub verifier: &'a str,
}

/// The URL that a person opens to agree (RFC 6749, 4.1.1; RFC 7636, 4.3).
///
/// # Errors
/// A template without a value or one that fails, a URL that is none, or a parameter that is set twice.
pub(crate) fn authorize_url(
    address: &Template,
    params: &[(String, Template)],
    ask: &Authorize<'_>,
    variables: &Variables,
) -> Result<Url, String> {
    let mut url = web_address(address, variables)?;
    let mut parameters: Vec<(String, Value)> = Vec::new();
    let mut own = |name: &str, value: &str| parameters.push((name.to_owned(), value.into()));
    own("response_type", "code");
    own("client_id", ask.client_id);
    own("redirect_uri", ask.redirect_uri);
    if !ask.scope.is_empty() {
        own("scope", ask.scope);
    }
    own("state", ask.state);
    match ask.pkce {
        Pkce::S256 => {
            own("code_challenge", &challenge(ask.verifier));
            own("code_challenge_method", "S256");
        }
        Pkce::Plain => {
            own("code_challenge", ask.verifier);
            own("code_challenge_method", "plain");
        }
        Pkce::None => {}
    }
    for (name, template) in params {
        if let Some(value) = text(template, variables)? {
            add(&mut parameters, name, value.into())?;
        }
    }
    // spaces as `%20`, which every server reads (`+` is a space in forms only)
    let query = [url.query().unwrap_or_default(), &form(&parameters).replace('+', "%20")].join("&");
    url.set_query(Some(query.trim_start_matches('&')));
    Ok(url)
}

/// The challenge of a verifier: base64url of its SHA-256 (RFC 7636, 4.2).
pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

/// The code that a person was sent back with (RFC 6749, 4.1.2), if it is the answer to the request with this `state`.
///
/// # Errors
/// Why there is none, masked by `redactor`: the person or the API said no (4.1.2.1), it is the answer to something else, or a part is missing.
pub(crate) fn redirected(url: &Url, state: &str, redactor: &Redactor) -> Result<SecretString, String> {
    let shown = |text: &str| shown(redactor, text);
    let given = one(url, "state")?;
    let error = one(url, "error")?;
    match (&given, &error) {
        (Some(given), _) if is_same(given, state) => {}
        // some APIs forget it when they say no
        (None, Some(_)) => {}
        (Some(_), _) => {
            return Err("the browser came back with the answer to another request (`state` differs)".to_owned());
        }
        (None, None) => return Err("the browser came back without `state`, so the answer cannot be trusted".to_owned()),
    }
    if let Some(error) = error {
        let said = match one(url, "error_description")?.filter(|text| !text.trim().is_empty()) {
            Some(description) => format!("`{}`: {}", shown(&error), shown(&description)),
            None => format!("`{}`", shown(&error)),
        };
        return Err(match error.as_str() {
            "access_denied" => format!("access was denied in the browser: {said}"),
            _ => format!("the API did not give access: {said}"),
        });
    }
    match one(url, "code")? {
        Some(code) if code.len() > limits::TOKEN_BYTES_MAX => Err("the code that came back is too long".to_owned()),
        Some(code) if !code.is_empty() => Ok(code.into()),
        _ => Err("the browser came back without a code".to_owned()),
    }
}

fn one(url: &Url, name: &str) -> Result<Option<String>, String> {
    let mut found = url.query_pairs().filter(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    match (found.next(), found.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(format!("the browser came back with `{name}` twice")),
    }
}

/// In a time that does not depend on where they differ.
fn is_same(given: &str, expected: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, expected.as_bytes());
    hmac::verify(&key, given.as_bytes(), hmac::sign(&key, expected.as_bytes()).as_ref()).is_ok()
}

/// A text from elsewhere, for people: without secrets, one line, not too long. What is masked after it was cut would show pieces.
pub(crate) fn shown(redactor: &Redactor, text: &str) -> String {
    let line: String = redactor.redact(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(limits::REFUSAL_CHARS_MAX) {
        None => words,
        Some((end, _)) => format!("{}…", &words[..end]),
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;
    use secrecy::ExposeSecret;

    use super::*;

    const STATE: &str = "xyz-state";

    fn asked(address: &str, params: &[(&str, &str)], ask: &Authorize<'_>) -> Result<String, String> {
        let params: Vec<(String, Template)> =
            params.iter().map(|(name, text)| ((*name).to_owned(), Template::parse(text).unwrap())).collect();
        let variables = context! { config => context! { tenant => "acme", prompt => () } };
        authorize_url(&Template::parse(address).unwrap(), &params, ask, &variables).map(String::from)
    }

    fn ask() -> Authorize<'static> {
        Authorize {
            client_id: "s6BhdRkqt3",
            redirect_uri: "http://127.0.0.1:8400/callback",
            scope: "read write:all",
            state: STATE,
            pkce: Pkce::S256,
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        }
    }

    #[test]
    fn the_challenge_of_rfc_7636() {
        // appendix B
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn a_person_is_sent_to_a_whole_url() {
        let url = asked("https://{{ config.tenant }}.example/authorize#top", &[("access_type", "offline")], &ask());
        assert_eq!(
            url.unwrap(),
            "https://acme.example/authorize?response_type=code&client_id=s6BhdRkqt3\
             &redirect_uri=http%3A%2F%2F127.0.0.1%3A8400%2Fcallback&scope=read%20write%3Aall&state=xyz-state\
             &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256&access_type=offline"
        );
        let plain = Authorize { pkce: Pkce::Plain, verifier: "v", scope: "", ..ask() };
        let url = asked("https://a.example/?x=1", &[("scope", "a+b"), ("prompt", "{{ config.prompt }}")], &plain);
        assert_eq!(
            url.unwrap(),
            "https://a.example/?x=1&response_type=code&client_id=s6BhdRkqt3\
             &redirect_uri=http%3A%2F%2F127.0.0.1%3A8400%2Fcallback&state=xyz-state&code_challenge=v\
             &code_challenge_method=plain&scope=a%2Bb"
        );
        let none = asked("https://a.example/", &[], &Authorize { pkce: Pkce::None, ..ask() }).unwrap();
        assert!(!none.contains("challenge"), "{none}");
    }

    #[test]
    fn what_cannot_be_opened_is_told() {
        for (address, params, expected) in [
            ("ftp://a.example/", &[][..], "`ftp:` is neither `http:` nor `https:`"),
            ("javascript:alert(1)", &[], "`javascript:` is neither `http:` nor `https:`"),
            ("{{ config.nowhere }}", &[], "`{{ config.nowhere }}` has no value"),
            ("nowhere", &[], "`nowhere` gives no URL: relative URL without a base"),
            ("https://me:pw@a.example/", &[], "a URL holds a user name or password"),
            (
                "https://a.example/",
                &[("state", "fixed")],
                "the parameter `state` is set by headwater itself, to something else",
            ),
        ] {
            assert_eq!(asked(address, params, &ask()).expect_err(address), expected);
        }
    }

    fn back(query: &str) -> Result<String, String> {
        let url = Url::parse(&format!("http://127.0.0.1:8400/callback{query}")).unwrap();
        redirected(&url, STATE, &Redactor::default()).map(|code| code.expose_secret().to_owned())
    }

    #[test]
    fn a_code_comes_back_with_its_state() {
        // RFC 9207's `iss` is passed over
        let code = back("?code=SplxlO%2BBeZ&state=xyz-state&iss=https%3A%2F%2Fa.example");
        assert_eq!(code, Ok("SplxlO+BeZ".to_owned()));
        for (query, expected) in [
            ("?code=a&state=xyz-statf", "the browser came back with the answer to another request (`state` differs)"),
            ("?code=a&state=xyz", "the browser came back with the answer to another request (`state` differs)"),
            (
                "?error=access_denied&state=x",
                "the browser came back with the answer to another request (`state` differs)",
            ),
            ("?code=a", "the browser came back without `state`, so the answer cannot be trusted"),
            ("", "the browser came back without `state`, so the answer cannot be trusted"),
            ("?state=xyz-state", "the browser came back without a code"),
            ("?code=&state=xyz-state", "the browser came back without a code"),
            ("?code=a&code=b&state=xyz-state", "the browser came back with `code` twice"),
            (
                "?error=access_denied&error_description=The+user%0Asaid%1b+no&state=xyz-state",
                "access was denied in the browser: `access_denied`: The user said no",
            ),
            ("?error=access_denied", "access was denied in the browser: `access_denied`"),
            ("?error=invalid_scope&code=a&state=xyz-state", "the API did not give access: `invalid_scope`"),
        ] {
            assert_eq!(back(query), Err(expected.to_owned()), "{query}");
        }
        let long = format!("?code={}&state={STATE}", "a".repeat(limits::TOKEN_BYTES_MAX + 1));
        assert_eq!(back(&long), Err("the code that came back is too long".to_owned()));
        let long = format!("?error=x&error_description={}&state={STATE}", "ä".repeat(9_999));
        assert_eq!(
            back(&long).expect_err("no").chars().count(),
            "the API did not give access: `x`: …".chars().count() + 500
        );
    }
}
