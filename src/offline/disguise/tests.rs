//! What must hold of every recording: nothing of what was personal is in it, and what was the same is the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const KEY: &[u8] = b"only here";

fn rules() -> Rules {
    Rules {
        said: vec!["request: { get: /orders, query: { state: paid } }".to_owned()],
        origins: std::iter::once("https://api.shop.test".to_owned()).collect(),
        secrets: vec![("s3cr3t/value".to_owned(), "test-key".to_owned())],
        ..Rules::default()
    }
}

/// A body as it is recorded, alone.
fn recorded(body: &Value) -> Value {
    with(rules(), body)
}

fn with(rules: Rules, body: &Value) -> Value {
    let content = Content::Json(body.clone());
    let mut learner = Learner::new(rules);
    learner.body(&content);
    match learner.disguise(KEY).body(&content) {
        Content::Json(made) => made,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_the_same_stays_the_same_everywhere() {
    let made = recorded(&json!({
        "orders": [
            { "id": 4_507_894, "customer": { "id": 990_017, "email": "ada@byron.org" }, "contact": "ada@byron.org",
              "url": "https://api.shop.test/orders/4507894?of=ada%40byron.org", "blob": "{\"customer\":990017}" },
            { "id": 4_507_895, "customer_id": 990_017, "note": "from Ada <ada@byron.org>", "to": "ada@byron.org" },
        ],
        "next": STANDARD.encode("after=4507895;mail=ada@byron.org"),
    }));
    let [one, other] = [&made["orders"][0], &made["orders"][1]];
    let email = one["customer"]["email"].as_str().expect("text");
    assert!(email.ends_with("@example.com"), "{made}");
    assert_eq!((&one["contact"], &other["to"]), (&email.into(), &email.into()));
    assert_eq!(one["customer"]["id"], other["customer_id"]);
    let inside: Value = serde_json::from_str(one["blob"].as_str().expect("text")).expect("JSON");
    assert_eq!(inside["customer"], other["customer_id"]);
    let encoded = email.replace('@', "%40");
    assert_eq!(one["url"], format!("https://api.shop.test/orders/{}?of={encoded}", one["id"]));
    assert!(one["id"].as_u64() < other["id"].as_u64(), "numbers keep their order");
    assert_eq!((one["id"].to_string().len(), one["customer"]["id"].to_string().len()), (7, 6));
    assert!(!made.to_string().contains("byron"), "{made}");
}

#[test]
fn what_decides_what_a_sync_does_stays() {
    let body = json!({
        "status": "in_transit", "state": "paid", "currency": "EUR", "total": "12.50", "amount": 1250, "count": 3, "has_more": true,
        "created_at": "2024-05-01T08:00:00Z", "updated": 1_714_550_400, "gone": null, "tags": ["new", "vip"], "id": 17,
    });
    assert_eq!(recorded(&body), body);
}

#[test]
fn what_the_integration_says_stays_and_secrets_never_do() {
    let body = json!({ "name": "paid", "access_token": "paid-to-nobody-1", "echo": "you sent s3cr3t/value", "session": "s3cr3t/value",
                        "next": "https://api.shop.test/s3cr3t%2Fvalue?key=s3cr3t/value", "s3cr3t/value": 1 });
    let made = recorded(&body);
    assert_eq!(made["name"], "paid");
    assert_ne!(made["access_token"], body["access_token"]);
    assert_eq!(
        (&made["session"], &made["next"]),
        (&json!("test-key"), &json!("https://api.shop.test/test-key?key=test-key"))
    );
    assert_eq!((&made["echo"], &made["test-key"]), (&json!("you sent test-key"), &json!(1)));
}

#[test]
fn an_id_stays_one_under_whatever_key_it_is_met_first() {
    let made =
        recorded(&json!([{ "user": "U012AB3CD", "owner": 1_234_567 }, { "id": "U012AB3CD" }, { "id": 1_234_567 }]));
    assert_eq!((&made[0]["user"], &made[0]["owner"]), (&made[1]["id"], &made[2]["id"]));
    let id = made[1]["id"].as_str().expect("text");
    assert!(id.len() == 9 && id != "U012AB3CD" && made[2]["id"] != 1_234_567, "{made}");
}

#[test]
fn keys_can_be_kept_and_replaced() {
    let body = json!({ "Name": "Ada", "sku": "ABC-1", "first_name": "Grace" });
    let asked = Rules { keep: keys(&["name".to_owned()]), replace: keys(&["SKU".to_owned()]), ..rules() };
    let made = with(asked, &body);
    assert_eq!(made["Name"], "Ada");
    assert!(made["sku"] != "ABC-1" && made["sku"].as_str().expect("text").len() == 5, "{made}");
    assert_ne!(made["first_name"], "Grace");
}

#[test]
fn rows_lines_and_elements_are_bodies_too() {
    let bodies = [
        "id,Email,City\n1,ada@byron.org,London\n2,grace@hopper.mil,Arlington\n",
        "{\"id\":1,\"email\":\"ada@byron.org\",\"city\":\"London\"}\n{\"id\":2,\"city\":\"Arlington\"}\n",
        "<?xml version=\"1.0\"?><list><p id=\"1\" email=\"ada@byron.org\"><city>London</city><!-- London --></p><p>grace@hopper.mil</p></list>",
        "write to ada@byron.org or grace@hopper.mil",
    ];
    for body in bodies {
        let content = read(body.as_bytes()).expect("text");
        let mut learner = Learner::new(rules());
        learner.body(&content);
        let (_, made) = learner.disguise(KEY).body(&content).written().expect("a body");
        let made = made.as_str().expect("text").to_owned();
        for personal in ["byron", "hopper", "London", "Arlington"] {
            assert!(!made.contains(personal), "{personal}: {made}");
        }
        assert_eq!(made.lines().count(), body.lines().count(), "{made}");
    }
    assert!(matches!(read(b"\xff\xfe\x00binary"), Err(reason) if reason.contains("no text")));
}

#[test]
fn a_recording_can_have_fewer_records() {
    let all: Vec<Value> =
        (0..100).map(|id| json!({ "id": id, "lines": [{ "n": 1 }, { "n": 2 }, { "n": 3 }] })).collect();
    let short = Content::Json(json!({ "data": all, "tags": [1, 2, 3, 4] })).shortened(2);
    let line = json!([{ "n": 1 }, { "n": 3 }]);
    let expected = json!({ "data": [{ "id": 0, "lines": line }, { "id": 99, "lines": line }], "tags": [1, 2, 3, 4] });
    assert_eq!(short, Content::Json(expected));
}

#[derive(Debug, Clone)]
struct Person {
    id: u64,
    key: String,
    name: String,
    email: String,
    phone: String,
    street: String,
    ip: String,
    note: String,
}

fn person() -> impl Strategy<Value = Person> {
    (
        100_000..u64::from(u32::MAX),
        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}",
        "[A-Z][a-z]{6,9}q [A-Z][a-z]{6,9}zx",
        "[a-z]{5,9}[0-9]{3}",
        "[1-9][0-9]{10}",
        100..255_u8,
    )
        .prop_map(|(id, key, name, mail, phone, byte)| Person {
            id,
            key,
            email: format!("{mail}@{mail}.org"),
            phone: format!("+{phone}"),
            street: format!("{byte} Rue de {name}"),
            ip: format!("10.{byte}.7.{byte}"),
            note: format!("{name} called about the {mail} again"),
            name,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However it is written: alone, in a URL, in a text, in JSON in a text, in base64, as a key.
    #[test]
    fn nothing_personal_is_left_and_joins_are_kept(people in prop::collection::vec(person(), 1..6), secret in "[A-Za-z0-9]{20,30}") {
        let secrets = vec![(secret.clone(), "test-key".to_owned()), (STANDARD.encode(&secret), "test-key".to_owned())];
        let rules = Rules { secrets, ..rules() };
        let all: Vec<Value> = people.iter().map(|person| json!({
            "id": person.id, "uuid": person.key, "name": person.name, "email": person.email, "phone": person.phone,
            "street": person.street, "last_ip": person.ip, "note": person.note,
            "display": format!("{} <{}>", person.name, person.email),
            "self": format!("https://api.shop.test/p/{}/{}?mail={}", person.id, person.key, utf8_percent_encode(&person.email, NON_ALPHANUMERIC)),
            "home": format!("https://{}.example.org/{}", person.id, person.name.replace(' ', "-")),
            "raw": json!({ "person": person.id, "mail": person.email }).to_string(),
            "cursor": STANDARD.encode(format!("id:{}|{}", person.id, person.email)),
            "by_mail": { person.email.clone(): person.key },
            "echo": format!("{secret} {}", STANDARD.encode(&secret)),
        })).collect();
        let orders: Vec<Value> = people.iter().map(|person| json!({ "person_id": person.id, "person": person.key })).collect();
        let made = with(rules, &json!({ "people": all, "orders": orders }));
        let text = made.to_string();
        for person in &people {
            let Person { id, key, name, email, phone, street, ip, note } = person;
            let (first, last) = name.split_once(' ').expect("two words");
            let id = id.to_string();
            let mail = utf8_percent_encode(email, NON_ALPHANUMERIC).to_string();
            for personal in [id.as_str(), key, name, email, phone, street, ip, note, &mail, first, last] {
                prop_assert!(!text.contains(personal), "{personal}: {text}");
            }
        }
        prop_assert!(!text.contains(&secret) && !text.contains(&STANDARD.encode(&secret)), "{text}");
        for (nth, (person, order)) in people.iter().zip(made["orders"].as_array().expect("orders")).enumerate() {
            let known = &made["people"][nth];
            prop_assert_eq!(&known["id"], &order["person_id"]);
            prop_assert_eq!(&known["uuid"], &order["person"]);
            let place = format!("/p/{}/{}?", known["id"], known["uuid"].as_str().expect("text"));
            let is_there = known["self"].as_str().expect("text").contains(&place);
            prop_assert!(is_there, "{}", known["self"]);
            let email = known["email"].as_str().expect("text");
            prop_assert_eq!(&known["by_mail"][email], &known["uuid"]);
            prop_assert!(known["raw"].as_str().expect("text").contains(email));
            // who is smaller stays smaller, and who is the same the same
            for (other, made) in people.iter().zip(made["people"].as_array().expect("people")) {
                if person.id.to_string().len() == other.id.to_string().len() {
                    prop_assert_eq!(person.id.cmp(&other.id), known["id"].as_u64().cmp(&made["id"].as_u64()));
                }
                prop_assert_eq!(person.email == other.email, email == made["email"].as_str().expect("text"));
            }
        }
    }

    /// What goes back to the API as the next request is what its answer says, in both the same.
    #[test]
    fn a_request_says_what_the_answer_before_it_said(cursor in "[A-Za-z0-9+/=_-]{1,40}", id in 1..u64::from(u32::MAX), mail in "[a-z]{3,8}@[a-z]{3,8}\\.org") {
        let body = json!({ "next": cursor, "id": id, "email": mail, "link": format!("https://api.shop.test/p?after={id}&c={}", utf8_percent_encode(&cursor, NON_ALPHANUMERIC)) });
        let content = Content::Json(body);
        let mut learner = Learner::new(rules());
        learner.body(&content);
        let disguise = learner.disguise(KEY);
        let Content::Json(made) = disguise.body(&content) else { panic!("JSON") };
        prop_assert_eq!(disguise.text(&cursor), made["next"].as_str().expect("text"));
        prop_assert_eq!(disguise.text(&id.to_string()), made["id"].to_string());
        prop_assert_eq!(disguise.text(&mail), made["email"].as_str().expect("text"));
        let link = url::Url::parse(made["link"].as_str().expect("text")).expect("a URL");
        let pairs: Vec<(String, String)> = link.query_pairs().into_owned().collect();
        prop_assert_eq!(&pairs[0].1, &made["id"].to_string());
        prop_assert_eq!(pairs[1].1.as_str(), made["next"].as_str().expect("text"));
    }
}
