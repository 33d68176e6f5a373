use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::json;

use super::super::client::sample;
use super::super::credentials::Credentials;
use super::*;
use crate::plan::Algorithm;

const RSA_PEM: &str = include_str!("../../tests/support/rsa.pem");

fn keys(secret: &str) -> Keys {
    let access = Access::with(Credentials::from_pairs([("webhook_secret", secret)]), Arc::new(|| DateTime::UNIX_EPOCH));
    Keys::of(&sample::connection("https://api.example.com"), &access)
}

fn template(text: &str) -> Template {
    Template::parse(text).expect("parses")
}

fn secret() -> Template {
    template("{{ credentials.webhook_secret }}")
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
}

fn delivery(url: &str, headers: &[(&str, &str)], body: &str) -> Delivery {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (method, url, body) = ("POST".to_owned(), url.to_owned(), Bytes::from(body.to_owned()));
    Delivery { method, url, headers, query: BTreeMap::new(), body }
}

/// What is signed, as the words of a provider say it: `{{ request.body }}` is cut out.
fn signed(text: &str) -> Vec<SignedPart> {
    let mut parts = Vec::new();
    for (nth, text) in text.split("{{ request.body }}").enumerate() {
        parts.extend((nth > 0).then_some(SignedPart::Body));
        parts.extend((!text.is_empty()).then(|| SignedPart::Text(template(text))));
    }
    parts
}

fn hmac(header: &str, prefix: &str, encoding: Encoding, text: &str, timestamp: Option<(&str, &str)>) -> WebhookVerify {
    let timestamp = timestamp.map(|(header, prefix)| WebhookTimestamp {
        header: header.to_owned(),
        prefix: prefix.to_owned(),
        tolerance: Duration::from_secs(300),
    });
    WebhookVerify::Hmac {
        hash: Hash::Sha256,
        header: header.to_owned(),
        prefix: prefix.to_owned(),
        encoding,
        signed: signed(text),
        secret: secret(),
        timestamp,
    }
}

struct Example {
    name: &'static str,
    plan: WebhookVerify,
    secret: &'static str,
    delivery: Delivery,
    now: &'static str,
}

const SLACK_BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
    channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
    response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
    trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

/// Those of GitHub, Slack and Zendesk (the first of two) are the ones that their documentation prints; Shopify's is one that others have
/// published. Stripe and HubSpot print none with its secret: theirs were made with Python's `hmac` by the words of their documentation.
#[expect(clippy::too_many_lines, reason = "a table")]
fn examples() -> Vec<Example> {
    let stripe = "t=1492774577,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd,\
                  v1=691252e266ce41cb94d709c84e9580d4172b117a510bbc81723f657d2cd5d215,\
                  v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39";
    let zendesk = |text: &str| {
        let (signature, time) = ("x-zendesk-webhook-signature", "x-zendesk-webhook-signature-timestamp");
        hmac(signature, "", Encoding::Base64, text, Some((time, "")))
    };
    vec![
        Example {
            name: "GitHub",
            plan: hmac("x-hub-signature-256", "sha256=", Encoding::Hex, "{{ request.body }}", None),
            secret: "It's a Secret to Everybody",
            delivery: delivery(
                "/",
                &[("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
                "Hello, World!",
            ),
            now: "2024-01-01T00:00:00Z",
        },
        Example {
            name: "Slack",
            plan: hmac(
                "x-slack-signature",
                "v0=",
                Encoding::Hex,
                "v0:{{ request.headers['x-slack-request-timestamp'] }}:{{ request.body }}",
                Some(("x-slack-request-timestamp", "")),
            ),
            secret: "8f742231b10e8888abcd99yyyzzz85a5",
            delivery: delivery(
                "/",
                &[
                    ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
                    ("x-slack-request-timestamp", "1531420618"),
                ],
                SLACK_BODY,
            ),
            now: "2018-07-12T18:36:58Z",
        },
        Example {
            name: "Stripe",
            plan: hmac(
                "stripe-signature",
                "v1=",
                Encoding::Hex,
                "{{ request.timestamp }}.{{ request.body }}",
                Some(("stripe-signature", "t=")),
            ),
            secret: "whsec_test_secret",
            delivery: delivery("/", &[("stripe-signature", stripe)], r#"{"id":"evt_test","object":"event"}"#),
            now: "2017-04-21T11:36:17Z",
        },
        Example {
            name: "Shopify",
            plan: hmac("x-shopify-hmac-sha256", "", Encoding::Base64, "{{ request.body }}", None),
            secret: "test-webhook-secret",
            delivery: delivery(
                "/",
                &[("x-shopify-hmac-sha256", "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw=")],
                r#"{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}"#,
            ),
            now: "2024-01-01T00:00:00Z",
        },
        Example {
            name: "HubSpot",
            plan: hmac(
                "x-hubspot-signature-v3",
                "",
                Encoding::Base64,
                "{{ request.method }}{{ request.url }}{{ request.body }}{{ request.timestamp }}",
                Some(("x-hubspot-request-timestamp", "")),
            ),
            secret: "test-secret",
            delivery: delivery(
                "https://example.com/webhooks/hubspot/acme",
                &[
                    ("x-hubspot-signature-v3", "1hVhCNY0aUUYtnRZ1X2ddbb38xdZwj0leCOBiKbOcWs="),
                    ("x-hubspot-request-timestamp", "1765043528476"),
                ],
                r#"[{"eventId":714285774,"subscriptionType":"contact.creation"}]"#,
            ),
            now: "2025-12-06T17:52:08Z",
        },
        Example {
            name: "Zendesk",
            plan: zendesk("{{ request.body }}{{ request.timestamp }}"),
            secret: "HRkRd4BeOAoUkfZr-mhauJT64rvBASlJRoIyPsd3zeA=",
            delivery: delivery(
                "/",
                &[
                    ("x-zendesk-webhook-signature", "tRDSF7URY8BLCDlaBcQ7FHu051Zk+aAB0NKMP53teMw="),
                    ("x-zendesk-webhook-signature-timestamp", "2021-07-25T10:00:00Z"),
                ],
                r#"{"say": "hello"}"#,
            ),
            now: "2021-07-25T10:00:00Z",
        },
        Example {
            name: "Zendesk, as it signs now",
            plan: zendesk("{{ request.timestamp }}{{ request.body }}"),
            secret: "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==",
            delivery: delivery(
                "/",
                &[
                    ("x-zendesk-webhook-signature", "S/RDdU2ERmj7LHDDoWJ2onPYH+t7/f2+LTM4dL7UiLM="),
                    ("x-zendesk-webhook-signature-timestamp", "2021-03-25T05:09:27Z"),
                ],
                r#"{"event":"ticket.updated","id":123}"#,
            ),
            now: "2021-03-25T05:09:27Z",
        },
    ]
}

#[test]
fn the_published_examples_of_six_providers_are_right() {
    for Example { name, plan, secret, delivery, now } in examples() {
        assert_eq!(keys(secret).verify(&plan, &delivery, at(now)), Ok(()), "{name}");
        assert!(keys("another secret").verify(&plan, &delivery, at(now)).is_err(), "{name}: another secret");
        assert!(
            matches!(keys("").verify(&plan, &delivery, at(now)), Err(Doubt::Untold(_))),
            "{name}: an empty secret proves nothing"
        );
    }
}

#[test]
fn a_delivery_is_old_before_and_behind_its_time() {
    for Example { name, plan, secret, delivery, now } in examples() {
        let WebhookVerify::Hmac { timestamp: Some(_), .. } = &plan else { continue };
        for (seconds, fine) in [(-3_600, false), (-200, true), (0, true), (200, true), (3_600, false)] {
            let now = at(now) + chrono::TimeDelta::seconds(seconds);
            assert_eq!(keys(secret).verify(&plan, &delivery, now).is_ok(), fine, "{name} {seconds}");
        }
    }
}

#[test]
fn a_second_time_in_the_header_is_no_time() {
    let Example { plan, secret, mut delivery, now, .. } = examples().swap_remove(2);
    let header = delivery.headers.get_mut("stripe-signature").expect("there is one");
    *header = format!("{header},t=1600000000");
    assert!(keys(secret).verify(&plan, &delivery, at(now)).is_err());
}

#[test]
fn a_body_that_is_no_text_and_longer_than_a_template_may_make_is_signed_too() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[0] ^ 0xff).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
    let signature = crate::plan::hex(hmac::sign(&key, &[b"v1:", body.as_slice()].concat()));
    let plan = hmac("x-signature", "", Encoding::Hex, "v1:{{ request.body }}", None);
    let mut delivery = delivery("/", &[("x-signature", &signature)], "");
    delivery.body = Bytes::from(body);
    assert_eq!(keys("secret").verify(&plan, &delivery, DateTime::UNIX_EPOCH), Ok(()));
}

#[test]
fn a_shared_secret_is_the_whole_header_or_parameter() {
    let plan = |in_header| WebhookVerify::Token { in_header, name: "key".to_owned(), value: secret() };
    let mut of = delivery("/", &[("key", "s3cr3t")], "");
    assert_eq!(keys("s3cr3t").verify(&plan(true), &of, DateTime::UNIX_EPOCH), Ok(()));
    assert!(keys("s3cr3t").verify(&plan(false), &of, DateTime::UNIX_EPOCH).is_err());
    of.query.insert("key".to_owned(), "s3cr3t".to_owned());
    assert_eq!(keys("s3cr3t").verify(&plan(false), &of, DateTime::UNIX_EPOCH), Ok(()));
    for other in ["", "s3cr3", "s3cr3t ", "S3cr3t", "s3cr3t1"] {
        of.headers.insert("key".to_owned(), other.to_owned());
        assert!(keys("s3cr3t").verify(&plan(true), &of, DateTime::UNIX_EPOCH).is_err(), "{other:?}");
    }
    let empty = delivery("/", &[("key", "")], "");
    assert!(keys("").verify(&plan(true), &empty, DateTime::UNIX_EPOCH).is_err(), "nothing is no secret");
}

/// The public half of [`RSA_PEM`].
fn rsa_public() -> String {
    use ring::signature::{KeyPair, RsaKeyPair};
    let der: String = RSA_PEM.lines().filter(|line| !line.starts_with('-')).collect();
    let key = RsaKeyPair::from_pkcs8(&BASE64.decode(der).expect("base64")).expect("a key");
    format!(
        "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----",
        BASE64.encode(key.public_key().as_ref())
    )
}

fn token(algorithm: Algorithm, key: &str, claims: &serde_json::Value) -> String {
    let claims = claims.as_object().expect("an object");
    sign::jwt(algorithm, key, &[], claims).expect("signs").expose_secret().to_owned()
}

fn jwt(algorithm: Algorithm, claims: &[(&str, &str)]) -> WebhookVerify {
    let claims = claims.iter().map(|(name, text)| ((*name).to_owned(), ValuePlan::Template(template(text)))).collect();
    WebhookVerify::Jwt { header: "authorization".to_owned(), algorithm, key: secret(), claims }
}

#[test]
fn a_token_is_of_its_key_its_time_and_its_claims() {
    let now = at("2024-05-01T00:00:00Z");
    let good = json!({ "iss": "acme", "aud": ["other", "sample"], "exp": now.timestamp() + 10 });
    let plan = jwt(Algorithm::Rs256, &[("iss", "acme"), ("aud", "{{ connection.name }}")]);
    let with = |claims: &serde_json::Value| {
        let token = format!("Bearer {}", token(Algorithm::Rs256, RSA_PEM, claims));
        keys(&rsa_public()).verify(&plan, &delivery("/", &[("authorization", &token)], ""), now)
    };
    assert_eq!(with(&good), Ok(()));
    let changes = [
        ("iss", json!("evil")),
        ("aud", json!("other")),
        ("exp", json!(now.timestamp() - 60)),
        ("exp", json!("never")),
        ("nbf", json!(now.timestamp() + 60)),
    ];
    for (name, value) in changes {
        let mut claims = good.clone();
        claims[name] = value;
        assert!(matches!(with(&claims), Err(Doubt::Unproven(_))), "{claims}");
    }
    assert!(matches!(with(&json!({})), Err(Doubt::Unproven(_))));
}

#[test]
fn who_sends_a_token_does_not_choose_how_it_is_checked() {
    let now = at("2024-05-01T00:00:00Z");
    let public = rsa_public();
    // the public key, which anybody has, as the secret of HS256; and no signature at all
    let by_public_key = token(Algorithm::Hs256, &public, &json!({ "iss": "acme" }));
    let unsigned = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJhY21lIn0.";
    for token in [by_public_key.as_str(), unsigned, "", "..", "a.b.c", "Bearer "] {
        let sent = delivery("/", &[("authorization", token)], "");
        let plan = jwt(Algorithm::Rs256, &[]);
        assert!(matches!(keys(&public).verify(&plan, &sent, now), Err(Doubt::Unproven(_))), "{token}");
    }
    let sent = delivery("/", &[("authorization", &token(Algorithm::Hs256, "shared", &json!({})))], "");
    assert_eq!(keys("shared").verify(&jwt(Algorithm::Hs256, &[]), &sent, now), Ok(()));
    assert!(keys("other").verify(&jwt(Algorithm::Hs256, &[]), &sent, now).is_err());
    assert!(matches!(keys("no key").verify(&jwt(Algorithm::Rs256, &[]), &sent, now), Err(Doubt::Untold(_))));
}

#[test]
fn no_secret_is_told() {
    for Example { plan, secret, delivery, now, .. } in examples() {
        let doubt = keys("another s3cr3t").verify(&plan, &delivery, at(now)).expect_err("refused");
        assert!(!format!("{doubt:?} {doubt}").contains("s3cr3t"));
        assert!(!keys(secret).redacted(&format!("a {secret} b")).contains(secret));
    }
}

proptest! {
    /// Whatever byte of the body or of a header is another one, the delivery is not believed.
    #[test]
    fn a_changed_byte_fails(nth in 0_usize..7, at_byte: prop::sample::Index, bit in 0_u8..7, in_header: bool) {
        let Example { name, plan, secret, mut delivery, now } = examples().swap_remove(nth);
        if in_header {
            let header = match &plan { WebhookVerify::Hmac { header, .. } => header.clone(), _ => unreachable!() };
            let value = delivery.headers.get_mut(&header).expect("there is one");
            // of Stripe's header: what counts
            let counts = if name == "Stripe" { 84..148 } else { 0..value.len() };
            let place = counts.start + at_byte.index(counts.len());
            let mut bytes = value.clone().into_bytes();
            bytes[place] ^= 1 << bit;
            let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
            // another spelling of the same
            prop_assume!(!text.eq_ignore_ascii_case(value) && !text.trim_matches(['=', ' ']).eq(value.trim_matches('=')));
            *value = text;
        } else {
            let mut body = delivery.body.to_vec();
            let place = at_byte.index(body.len());
            body[place] ^= 1 << bit;
            delivery.body = body.into();
        }
        prop_assert!(keys(secret).verify(&plan, &delivery, at(now)).is_err(), "{}", name);
    }

    /// Nothing that is sent makes it fail in another way than by a doubt.
    #[test]
    fn whatever_comes_is_only_doubted(text in ".{0,40}", body: Vec<u8>, nth in 0_usize..7) {
        let Example { plan, secret, mut delivery, now, .. } = examples().swap_remove(nth);
        delivery.headers.values_mut().for_each(|value| value.clone_from(&text));
        delivery.body = body.into();
        prop_assert!(matches!(keys(secret).verify(&plan, &delivery, at(now)), Err(Doubt::Unproven(_))));
        delivery.headers.clear();
        prop_assert!(matches!(keys(secret).verify(&plan, &delivery, at(now)), Err(Doubt::Unproven(_))));
        let sent = Delivery { headers: BTreeMap::from([("authorization".to_owned(), text)]), ..delivery };
        prop_assert!(keys("key").verify(&jwt(Algorithm::Hs256, &[]), &sent, at(now)).is_err());
    }
}
