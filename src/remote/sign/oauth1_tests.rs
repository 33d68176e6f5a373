use super::*;

fn keys(signature: Signature) -> Oauth1Keys<'static> {
    Oauth1Keys {
        consumer_key: "dpf43f3p2l4k3l03",
        consumer_secret: "kd94hf93k423kf44",
        token: "nnch734d00sl2jdk",
        token_secret: "pfkkdhi9sl3r4s00",
        signature,
        realm: None,
    }
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn the_base_string_of_rfc_5849() {
    // section 3.4.1.1; the request is that of 3.1, which has no `oauth_version`
    let protocol = [
        ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"),
    ];
    let target = url("http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b");
    assert_eq!(
        base_string("post", &target, Some(b"c2&a3=2+q"), &protocol),
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26\
         c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26\
         oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    );
    // section 3.4.1.2
    let base = base_string("GET", &url("http://EXAMPLE.COM:80/r%20v/X?id=123"), None, &[]);
    assert_eq!(base, "GET&http%3A%2F%2Fexample.com%2Fr%2520v%2FX&id%3D123");
    let base = base_string("GET", &url("https://www.example.net:8080/?q=1"), None, &[]);
    assert_eq!(base, "GET&https%3A%2F%2Fwww.example.net%3A8080%2F&q%3D1");
}

#[test]
fn the_signatures_of_rfc_5849() {
    // section 1.2: the request for a photo
    let protocol = [
        ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
        ("oauth_token", "nnch734d00sl2jdk"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131202"),
        ("oauth_nonce", "chapoH"),
    ];
    let target = url("http://photos.example.net/photos?file=vacation.jpg&size=original");
    let base = base_string("GET", &target, None, &protocol);
    assert_eq!(sign(&keys(Signature::HmacSha1), &base), "MdpQcU8iPSUjWoN/UDMsK2sui9I=");
    // section 1.2: the request for temporary credentials has no token yet
    let protocol = [
        ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131200"),
        ("oauth_nonce", "wIjqoS"),
        ("oauth_callback", "http://printer.example.com/ready"),
    ];
    let base = base_string("POST", &url("https://photos.example.net/initiate"), None, &protocol);
    let none = Oauth1Keys { token: "", token_secret: "", ..keys(Signature::HmacSha1) };
    assert_eq!(sign(&none, &base), "74KNZJeDHnMBp0EMJ9ZHt/XKycU=");
    // section 1.2: the request for the token
    let protocol = [
        ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
        ("oauth_token", "hh5s93j4hdidpola"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "walatlh"),
        ("oauth_verifier", "hfdp7dh39dks9884"),
    ];
    let base = base_string("POST", &url("https://photos.example.net/token"), None, &protocol);
    let temporary = Oauth1Keys { token_secret: "hdhd0244k9j7ao03", ..keys(Signature::HmacSha1) };
    assert_eq!(sign(&temporary, &base), "gKgrFCywp7rO0OXSjdot/IHF7IU=");
}

/// "Creating a signature" in the documentation of the API of Twitter, now X.
#[test]
fn the_example_of_twitter() {
    let keys = Oauth1Keys {
        consumer_key: "xvz1evFS4wEEPTGEFPHBog",
        consumer_secret: "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
        token: "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
        token_secret: "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
        signature: Signature::HmacSha1,
        realm: None,
    };
    let target = url("https://api.twitter.com/1/statuses/update.json?include_entities=true");
    let body = b"status=Hello%20Ladies%20%2b%20Gentlemen%2c%20a%20signed%20OAuth%20request%21";
    let header =
        authorization(&keys, "POST", &target, Some(body), 1_318_622_958, "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg");
    assert_eq!(
        header,
        "OAuth oauth_consumer_key=\"xvz1evFS4wEEPTGEFPHBog\", \
         oauth_token=\"370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb\", oauth_signature_method=\"HMAC-SHA1\", \
         oauth_timestamp=\"1318622958\", oauth_nonce=\"kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg\", \
         oauth_version=\"1.0\", oauth_signature=\"tnnArxj06cWHq44gCs1OSKk%2FjLY%3D\""
    );
}

/// Made with Python's `hmac` from the request of section 1.2 (`oauth_version=1.0` among the parameters).
#[test]
fn hmac_sha256_and_a_realm() {
    let keys = Oauth1Keys { realm: Some("Photos \"1\""), ..keys(Signature::HmacSha256) };
    let target = url("http://photos.example.net/photos?file=vacation.jpg&size=original");
    let header = authorization(&keys, "GET", &target, None, 137_131_202, "chapoH");
    assert!(header.starts_with(r#"OAuth realm="Photos \"1\"", oauth_consumer_key="dpf43f3p2l4k3l03", "#), "{header}");
    assert!(header.ends_with("oauth_signature=\"rAAvYu1BQL0v7E7CJl81nKGKZdQr4XFo7E7vbGJxPz4%3D\""), "{header}");
    let other = authorization(&keys, "GET", &target, None, 137_131_202, "chapoI");
    assert_ne!(header, other);
}

#[test]
fn plaintext_is_both_secrets() {
    // section 3.4.4, with a secret that must be encoded twice: in the key and in the header
    let keys = Oauth1Keys { consumer_secret: "a&b c", ..keys(Signature::Plaintext) };
    let header = authorization(&keys, "GET", &url("https://api.example.com/x"), None, 1, "n");
    assert!(header.contains(r#"oauth_signature_method="PLAINTEXT""#), "{header}");
    assert!(header.ends_with(r#"oauth_signature="a%2526b%2520c%26pfkkdhi9sl3r4s00""#), "{header}");
}

#[test]
fn without_a_token_there_is_no_parameter_for_it() {
    let keys = Oauth1Keys { token: "", token_secret: "", ..keys(Signature::Plaintext) };
    let header = authorization(&keys, "GET", &url("https://api.example.com/x"), None, 1, "n");
    assert!(!header.contains("oauth_token"), "{header}");
    assert!(header.ends_with(r#"oauth_signature="kd94hf93k423kf44%26""#), "{header}");
}
