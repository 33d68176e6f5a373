//! What holds secrets is not printed by `{:?}`, which ends up in panics and in logs that somebody adds one day.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderValue as Sent};
use secrecy::SecretString;

use super::auth::{Fault, Keys, Made, Maker, Proof, Session};
use super::client::sample;
use super::outgoing::Outgoing;
use super::request::{HeaderValue, Response, Secret};
use super::token::{ClientParts, Grant, TokenRequest};
use super::{Access, Authorization, Client, Connecting, Credentials, Device, NewToken, Redactor, Request, Secrets};
use crate::plan::{AuthPlan, ConnectionPlan, CredentialSource, KeyPlace, MadeAuth, Signature, Template};

/// Does not compile for a type that has `Debug`: then there are two ways to read `NotPrintable`.
macro_rules! not_printable {
    ($($name:ident: $type:ty),* $(,)?) => { $(
        #[allow(dead_code, reason = "compiling it is the test")]
        fn $name() {
            trait NotPrintable<A> {
                fn holds() {}
            }
            struct Printable;
            impl<T: ?Sized> NotPrintable<()> for T {}
            impl<T: ?Sized + Debug> NotPrintable<Printable> for T {}
            <$type as NotPrintable<_>>::holds();
        }
    )* };
}

not_printable! {
    access: Access,
    authorization: Authorization,
    client_parts: ClientParts,
    connecting: Connecting,
    device: Device,
    grant: Grant,
    keys: Keys,
    made: Made,
    maker: Maker<'_>,
    new_token: NewToken,
    outgoing: Outgoing,
    sent: super::auth::Sent,
    session: Session,
    token_request: TokenRequest,
}

const SECRET: &str = "M4RK-s3cret";

/// Each way in that puts a secret into a request.
fn ways_in() -> Vec<AuthPlan> {
    let template = |text| Template::parse(text).expect("it is a template");
    let oauth1 = MadeAuth::Oauth1 {
        consumer_key: template("k"),
        consumer_secret: template("{{ credentials.token }}"),
        token: template("t"),
        token_secret: template("{{ credentials.token }}"),
        signature: Signature::Plaintext,
        realm: None,
    };
    let sigv4 = MadeAuth::Sigv4 {
        access_key_id: template("k"),
        secret_access_key: template("{{ credentials.token }}"),
        session_token: Some(template("{{ credentials.token }}")),
        region: template("eu-1"),
        service: "s3".to_owned(),
    };
    vec![
        AuthPlan::Bearer { token: template("{{ credentials.token }}") },
        AuthPlan::Basic { username: template("me"), password: template("{{ credentials.token }}") },
        AuthPlan::ApiKey { place: KeyPlace::Query("key".to_owned()), value: template("{{ credentials.token }}") },
        AuthPlan::ApiKey { place: KeyPlace::Cookie("sid".to_owned()), value: template("{{ credentials.token }}") },
        AuthPlan::Made(Box::new(oauth1)),
        AuthPlan::Made(Box::new(sigv4)),
    ]
}

#[test]
fn nothing_that_is_printed_shows_a_secret() {
    let credentials = Credentials::from_pairs([("token", SECRET)]);
    let template = |text| Template::parse(text).expect("it is a template");
    let secret = || Secret {
        template: Arc::new(template("Bearer {{ credentials.token }}")),
        variables: minijinja::context! { credentials => credentials.variable() },
    };
    let value = || SecretString::from(SECRET);
    let connection = |auth| ConnectionPlan {
        auth,
        credentials: [("token".to_owned(), CredentialSource::Literal(value()))].into(),
        ..sample::connection("https://api.example.com")
    };
    let variables = credentials.with_settings(&connection(AuthPlan::None));
    let bearer = || ways_in().swap_remove(0);
    let proofs = ways_in();
    let proofs: Vec<_> = proofs
        .iter()
        .map(|plan| Proof::new(plan, &variables).unwrap_or_else(|error| panic!("{plan:?}: {error}")))
        .collect();
    let mut header = Sent::from_static(SECRET);
    header.set_sensitive(true);
    let request = Request {
        secret_query: vec![("key".to_owned(), secret())],
        headers: vec![("X-Key".to_owned(), HeaderValue::Secret(secret()))],
        ..sample::get("https://api.example.com/items")
    };
    let response = Response {
        status: 200,
        headers: vec![("x-you-said".to_owned(), SECRET.to_owned())],
        body: SECRET.into(),
        url: request.url.clone(),
        token: 1,
    };
    let token = BTreeMap::from([("access_token".to_owned(), value())]);
    let secrets = Secrets { credentials: token.clone(), token };
    let client = Client::new(Arc::new(connection(bearer())), sample::access(credentials.clone())).expect("a client");
    let mut redactor = Redactor::default();
    redactor.add(SECRET);
    let masked = Fault::Refused("***".to_owned());
    let all: [&dyn Debug; 12] = [
        &credentials,
        &credentials.variable(),
        &proofs,
        &Proof::Header(AUTHORIZATION, header),
        &request,
        &secret(),
        &response,
        &secrets,
        &client,
        &redactor,
        &masked,
        &connection(bearer()),
    ];
    for one in all {
        let shown = format!("{one:?} {one:#?}");
        assert!(!shown.contains("M4RK") && !shown.contains("TTRSSy"), "{shown}");
    }
}
