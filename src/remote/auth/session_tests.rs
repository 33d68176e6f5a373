use std::path::Path as FilePath;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use super::*;
use crate::plan::{ClientAuth, ClientPlan, KeyPlace, Path, Pkce, SendPlan, Template, TokenBody, TokenPlan};
use crate::remote::client::{self, Client, sample};
use crate::remote::credential_store::Secrets;
use crate::remote::sockets::Sockets;
use sample::{Received, Reply, Server};

const START: i64 = 1_700_000_000;

/// A clock that is set by hand, in seconds after the start.
#[derive(Clone, Default)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let hand = Arc::clone(&self.0);
        Arc::new(move || at(hand.load(Ordering::SeqCst)))
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(START + seconds, 0).expect("a time")
}

fn template(text: &str) -> Template {
    Template::parse(text).expect("a template")
}

fn path(text: &str) -> Path {
    Path::parse(text).expect("a path")
}

fn token_plan(server: &Server) -> TokenPlan {
    TokenPlan {
        url: template(&format!("{}/token", server.url)),
        refresh_url: template(&format!("{}/token", server.url)),
        params: Vec::new(),
        headers: Vec::new(),
        body: TokenBody::Form,
        client_auth: ClientAuth::Body,
        access_token: path("$.access_token"),
        refresh_token: path("$.refresh_token"),
        expires_in: path("$.expires_in"),
        expires_at: None,
        lasts: None,
        save: vec![("instance".to_owned(), path("$.instance"))],
    }
}

fn parts(server: &Server) -> (ClientPlan, TokenPlan, SendPlan) {
    let (id, secret) = (template("{{ credentials.client_id }}"), template("{{ credentials.client_secret }}"));
    let client = ClientPlan { id, secret, scopes: Vec::new(), scope_separator: " ".to_owned() };
    let value = template("Bearer {{ credentials.access_token }}");
    (client, token_plan(server), SendPlan { place: KeyPlace::Header("Authorization".to_owned()), value })
}

fn by_itself(server: &Server) -> MadeAuth {
    let (client, token, send) = parts(server);
    MadeAuth::ClientCredentials { client, token, send }
}

fn by_a_person(server: &Server) -> MadeAuth {
    let (client, token, send) = parts(server);
    let (authorize_url, authorize_params, device_url) = (template("https://a.example"), Vec::new(), None);
    MadeAuth::AuthorizationCode { authorize_url, authorize_params, device_url, pkce: Pkce::S256, client, token, send }
}

fn given() -> Credentials {
    Credentials::from_pairs([("client_id", "app-1"), ("client_secret", "cl1ent-s3cret")])
}

fn session(server: &Server, made: MadeAuth, kept: Option<Kept>, hand: &Hand) -> Session {
    let connection = ConnectionPlan { auth: AuthPlan::Made(Box::new(made)), ..sample::connection(&server.url) };
    let routes = client::routes(&connection, &given(), &mut Sockets::default()).expect("routes");
    let access = Access { credentials: given(), kept, held: None, clock: hand.clock(), told: None };
    Session::new(Arc::new(connection), access, Arc::new(routes)).expect("a session")
}

/// A server that gives the tokens `t0ken-1`, `t0ken-2`, …, each for as many seconds.
async fn tokens(seconds: i64) -> Server {
    let given = AtomicI64::new(0);
    Server::start(move |_| {
        let nth = given.fetch_add(1, Ordering::SeqCst) + 1;
        let instance = if nth % 2 == 1 { "odd" } else { "even" };
        Reply::Bytes(sample::ok(&format!(
            "{{\"access_token\":\"t0ken-{nth}\",\"expires_in\":{seconds},\"instance\":\"{instance}\"}}"
        )))
    })
    .await
}

fn refusal(status: u16, body: &str) -> Reply {
    let head = format!("HTTP/1.1 {status} No\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Reply::Bytes(format!("{head}{body}").into_bytes())
}

fn store(folder: &FilePath) -> CredentialStore {
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    CredentialStore::with_environment(folder, Arc::new(move |name| (name == "HEADWATER_KEY").then(|| key.into())))
}

fn entry(expires_at: Option<DateTime<Utc>>) -> Entry {
    Entry {
        provider: "sample".to_owned(),
        auth: None,
        facts: Map::new(),
        scopes: Vec::new(),
        connected_at: at(0),
        updated_at: at(0),
        expires_at,
        renewable: true,
        needs_reconnect: None,
        credentials: Vec::new(),
    }
}

fn keep(store: &CredentialStore, entry: &Entry, token: &[(&str, &str)]) -> Kept {
    let token: BTreeMap<_, _> = token.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect();
    let secrets = Secrets { credentials: BTreeMap::new(), token: token.clone() };
    store.write("sample", entry, &secrets).expect("written");
    Kept { store: store.clone(), entry: entry.clone(), token }
}

fn kept(store: &CredentialStore) -> (Entry, Secrets) {
    store.read("sample").expect("it opens").expect("it is there")
}

fn sent(keys: &Keys) -> String {
    keys.token[ACCESS_TOKEN].expose_secret().to_owned()
}

/// As many callers at once.
async fn all_ready(session: &Session, callers: usize) -> Vec<Result<Arc<Keys>, Error>> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let session = session.clone();
        tasks.spawn(async move { session.ready().await });
    }
    tasks.join_all().await
}

#[tokio::test]
async fn callers_at_once_make_one_token() {
    let server = tokens(3_600).await;
    let session = session(&server, by_itself(&server), None, &Hand::default());
    for keys in all_ready(&session, 32).await {
        assert_eq!(sent(&keys.expect("a token")), "t0ken-1");
    }
    assert_eq!(server.received().len(), 1);
    // all were refused with the same one
    session.refused(1);
    session.refused(1);
    for keys in all_ready(&session, 32).await {
        assert_eq!(sent(&keys.expect("a token")), "t0ken-2");
    }
    // an answer to an old request comes late
    session.refused(1);
    assert_eq!(sent(&session.ready().await.expect("a token")), "t0ken-2");
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn a_clock_that_jumps_makes_one_token_or_none() {
    let (server, hand) = (tokens(3_600).await, Hand::default());
    let session = session(&server, by_itself(&server), None, &hand);
    session.ready().await.expect("a token");
    hand.set(1_000_000);
    for keys in all_ready(&session, 8).await {
        assert_eq!(sent(&keys.expect("a token")), "t0ken-2");
    }
    assert_eq!(server.received().len(), 2, "one refresh after the jump");
    hand.set(-1_000_000);
    for _ in 0..4 {
        assert_eq!(sent(&session.ready().await.expect("a token")), "t0ken-2");
    }
    assert_eq!(server.received().len(), 2, "a token that seems good for long is used");
    session.refused(2);
    session.ready().await.expect("a token");
    session.ready().await.expect("a token");
    assert_eq!(server.received().len(), 3, "until the API refuses it");
}

#[tokio::test]
async fn a_token_is_followed_a_tenth_before_its_end_and_a_minute_at_most() {
    for (seconds, stale) in [(100, 90), (10, 9), (36_000, 35_940), (600, 540)] {
        let (server, hand) = (tokens(seconds).await, Hand::default());
        let session = session(&server, by_itself(&server), None, &hand);
        session.ready().await.expect("a token");
        hand.set(stale - 1);
        session.ready().await.expect("a token");
        assert_eq!(server.received().len(), 1, "{seconds} seconds");
        hand.set(stale);
        session.ready().await.expect("a token");
        assert_eq!(server.received().len(), 2, "{seconds} seconds");
    }
}

#[tokio::test]
async fn one_that_nothing_follows_is_good_to_its_end() {
    let (server, hand) = (tokens(60).await, Hand::default());
    let folder = tempfile::tempdir().expect("a folder");
    let kept = keep(&store(folder.path()), &entry(Some(at(100))), &[(ACCESS_TOKEN, "t0ken-of-old")]);
    let session = session(&server, by_a_person(&server), Some(kept), &hand);
    assert!(!session.can_renew());
    hand.set(99);
    assert_eq!(sent(&session.ready().await.expect("it is good for a second")), "t0ken-of-old");
    hand.set(100);
    let error = session.ready().await.err().expect("it has ended");
    assert_eq!(error.code(), "needs_reconnect");
    assert!(server.received().is_empty(), "there is nothing to ask with");
}

#[tokio::test]
async fn who_waited_shares_the_failure_and_who_comes_later_tries_again() {
    let asked = AtomicI64::new(0);
    let server = Server::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => refusal(503, "busy"),
        1 => refusal(400, "{\"error\":\"invalid_client\",\"error_description\":\"cl1ent-s3cret is wrong\"}"),
        _ => Reply::Bytes(sample::ok("{\"access_token\":\"t0ken-1\"}")),
    })
    .await;
    let session = session(&server, by_itself(&server), None, &Hand::default());
    // the callers are in line before the first of them is answered: nothing else runs meanwhile
    for (temporary, requests) in [(true, 1), (false, 2)] {
        for failed in all_ready(&session, 16).await {
            let error = failed.err().expect("no token");
            assert_eq!((error.code(), error.is_temporary()), ("no_token", temporary), "{error}");
            assert!(!error.to_string().contains("cl1ent-s3cret"), "{error}");
        }
        assert_eq!(server.received().len(), requests, "one attempt for all");
    }
    assert_eq!(sent(&session.ready().await.expect("a token")), "t0ken-1");
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_tried_once_for_all_who_wait() {
    let server = tokens(60).await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let held = keep(&store, &entry(Some(at(0))), &[(ACCESS_TOKEN, "t0ken-of-old"), (REFRESH_TOKEN, "refresh-of-old")]);
    let session = session(&server, by_a_person(&server), Some(held), &Hand::default());
    let bytes = std::fs::read(store.path()).expect("the file");
    std::fs::write(store.path(), "{").expect("torn");
    let mut errors: Vec<_> =
        all_ready(&session, 8).await.into_iter().map(|failed| failed.err().expect("none")).collect();
    let Some(Error::Store(first)) = errors.pop() else { panic!("the store is damaged") };
    assert!(
        errors.iter().all(|error| matches!(error, Error::Store(other) if Arc::ptr_eq(other, &first))),
        "{errors:?}"
    );
    std::fs::write(store.path(), bytes).expect("mended");
    assert_eq!(sent(&session.ready().await.expect("a token")), "t0ken-1");
}

/// A server that says when it is asked, and answers when it may.
async fn held() -> (Server, tokio::sync::mpsc::UnboundedReceiver<()>, std::sync::mpsc::Sender<()>) {
    let (arrived, arrives) = tokio::sync::mpsc::unbounded_channel();
    let (go, may_go) = std::sync::mpsc::channel();
    let may_go = Mutex::new(may_go);
    let server = Server::start(move |_| {
        arrived.send(()).expect("somebody looks");
        may_go.lock().expect("not poisoned").recv().expect("it may go");
        Reply::Bytes(sample::ok("{\"access_token\":\"t0ken-1\",\"refresh_token\":\"refresh-1\"}"))
    })
    .await;
    (server, arrives, go)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_caller_that_goes_away_loses_no_token() {
    let (server, mut arrives, go) = held().await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let held = keep(&store, &entry(Some(at(0))), &[(ACCESS_TOKEN, "t0ken-of-old"), (REFRESH_TOKEN, "refresh-of-old")]);
    let session = session(&server, by_a_person(&server), Some(held), &Hand::default());
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.ready().await.map(drop) })
        })
        .collect();
    arrives.recv().await.expect("asked");
    for caller in &callers {
        caller.abort();
    }
    for caller in callers {
        assert!(caller.await.expect_err("gone").is_cancelled());
    }
    go.send(()).expect("the server is there");
    session.settled().await;
    assert_eq!(sent(&session.current()), "t0ken-1");
    let (_, secrets) = kept(&store);
    assert_eq!(secrets.token[REFRESH_TOKEN].expose_secret(), "refresh-1", "it is kept");
    assert_eq!(server.received().len(), 1, "those in line who went away ask for none");
}

#[tokio::test]
async fn the_last_tokens_are_masked_and_no_more() {
    let server = tokens(3_600).await;
    let session = session(&server, by_itself(&server), None, &Hand::default());
    for nth in 1..=9 {
        let keys = session.ready().await.expect("a token");
        assert_eq!(sent(&keys), format!("t0ken-{nth}"));
        for old in 1..=nth {
            let text = format!("it was t0ken-{old} then");
            let is_masked = keys.redactor.redact(&text) == "it was *** then";
            assert_eq!(is_masked, nth - old < limits::TOKENS_MASKED, "{old} at {nth}");
        }
        session.refused(keys.generation);
    }
}

#[tokio::test]
async fn what_the_api_tells_with_a_token_is_kept_each_time_it_changes() {
    let server = tokens(3_600).await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let told = Map::from_iter([("instance".to_owned(), "odd".into())]);
    let held = keep(&store, &Entry { facts: told, ..entry(None) }, &[]);
    let session = session(&server, by_itself(&server), Some(held), &Hand::default());
    for expected in ["odd", "even", "odd"] {
        let keys = session.ready().await.expect("a token");
        assert_eq!(kept(&store).0.facts["instance"], expected);
        session.refused(keys.generation);
    }
}

#[tokio::test]
async fn a_token_that_another_process_made_is_taken() {
    let (server, hand) = (tokens(60).await, Hand::default());
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let old = keep(&store, &entry(Some(at(10))), &[(ACCESS_TOKEN, "t0ken-of-old"), (REFRESH_TOKEN, "refresh-of-old")]);
    let session = session(&server, by_a_person(&server), Some(old), &hand);
    keep(&store, &entry(Some(at(900))), &[(ACCESS_TOKEN, "t0ken-of-another"), (REFRESH_TOKEN, "refresh-of-another")]);
    hand.set(20);
    assert_eq!(sent(&session.ready().await.expect("a token")), "t0ken-of-another");
    assert!(server.received().is_empty());
    // it is refreshed with what belongs to it, and without a new one that stays
    hand.set(1_000);
    assert_eq!(sent(&session.ready().await.expect("a token")), "t0ken-1");
    assert!(String::from_utf8_lossy(&server.only().body).contains("refresh-of-another"));
    assert_eq!(kept(&store).1.token[REFRESH_TOKEN].expose_secret(), "refresh-of-another");
}

#[tokio::test]
async fn a_refusal_quotes_no_token_even_of_another_process() {
    let server = Server::start(|request: &Received| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        refusal(400, &format!("{{\"error\":\"invalid_request\",\"error_description\":\"bad: {body}\"}}"))
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let old = keep(&store, &entry(Some(at(0))), &[(ACCESS_TOKEN, "t0ken-of-old"), (REFRESH_TOKEN, "refresh-of-old")]);
    let session = session(&server, by_a_person(&server), Some(old), &Hand::default());
    keep(&store, &entry(Some(at(0))), &[(ACCESS_TOKEN, "t0ken-of-another"), (REFRESH_TOKEN, "refresh-of-another")]);
    let error = session.ready().await.err().expect("refused").to_string();
    assert!(error.contains("refresh_token=***") && !error.contains("another"), "{error}");
}

#[tokio::test]
async fn an_agreement_since_is_not_marked_for_the_one_before() {
    let server = tokens(60).await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let token = [(ACCESS_TOKEN, "t0ken-of-old"), (REFRESH_TOKEN, "refresh-of-old")];
    let old = keep(&store, &entry(None), &token);
    let session = session(&server, by_a_person(&server), Some(old), &Hand::default());
    let newer = Entry { connected_at: at(5), ..entry(None) };
    keep(&store, &newer, &[(ACCESS_TOKEN, "t0ken-of-new"), (REFRESH_TOKEN, "refresh-of-new")]);
    session.needs_reconnect("the account was closed").await.expect("the store is there");
    assert_eq!(kept(&store).0.needs_reconnect, None, "somebody has agreed since");
    session.refused(1);
    assert_eq!(sent(&session.ready().await.expect("a token")), "t0ken-of-new");
    session.needs_reconnect("the account was closed").await.expect("the store is there");
    assert_eq!(kept(&store).0.needs_reconnect.as_deref(), Some("the account was closed"));
    // and is told to who asks then
    session.refused(2);
    let error = session.ready().await.err().expect("it waits for a person");
    assert!(error.code() == "needs_reconnect" && error.to_string().contains("the account was closed"), "{error}");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn a_connection_that_was_disconnected_is_not_kept_again() {
    let server = tokens(60).await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let token = [(ACCESS_TOKEN, "t0ken-of-old"), (REFRESH_TOKEN, "refresh-of-old")];
    let held = keep(&store, &entry(Some(at(0))), &token);
    let session = session(&server, by_a_person(&server), Some(held), &Hand::default());
    assert!(store.remove("sample").expect("removed"));
    assert_eq!(session.ready().await.err().expect("nothing is there").code(), "needs_reconnect");
    assert!(store.read("sample").expect("it opens").is_none() && server.received().is_empty());
}

#[tokio::test]
async fn a_request_is_signed_when_its_wait_is_over() {
    let server = Server::fine().await;
    let sigv4 = MadeAuth::Sigv4 {
        access_key_id: template("{{ credentials.client_id }}"),
        secret_access_key: template("{{ credentials.client_secret }}"),
        session_token: None,
        region: template("eu-central-1"),
        service: "s3".to_owned(),
    };
    let connection = ConnectionPlan { auth: AuthPlan::Made(Box::new(sigv4)), ..sample::connection(&server.url) };
    let begun = std::time::Instant::now();
    // an hour goes by while the connection is held
    let clock: Clock = Arc::new(move || at(if begun.elapsed() < Duration::from_millis(100) { 0 } else { 3_600 }));
    let client =
        Client::new(Arc::new(connection), Access { credentials: given(), kept: None, held: None, clock, told: None })
            .expect("a client");
    client.hold(Duration::from_millis(150));
    client.send(&sample::get(&server.url)).await.expect("an answer");
    assert_eq!(server.only().header("x-amz-date").as_deref(), Some("20231114T231320Z"));
}
