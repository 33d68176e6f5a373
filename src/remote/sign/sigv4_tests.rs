use chrono::TimeZone;

use super::*;

/// A case of the test suite that AWS publishes for Signature Version 4 (awslabs/aws-c-auth, tests/aws-signing-test-suite/v4).
struct Case {
    name: &'static str,
    method: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    token: Option<&'static str>,
    path: Paths,
    signs_body: bool,
    signature: &'static str,
}

const SHORT: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
const LONG: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

/// All but those with dots in a path that is not normalized: `Url` has none. The suite encodes paths once; where that shows, its path
/// is told to be of S3.
const CASES: &[Case] = &[
    Case {
        name: "get-header-key-duplicate",
        method: "GET",
        target: "/",
        headers: &[("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    },
    Case {
        name: "get-header-value-multiline",
        method: "GET",
        target: "/",
        headers: &[("my-header1", "value1\n  value2\n     value3")],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
    },
    Case {
        name: "get-header-value-order",
        method: "GET",
        target: "/",
        headers: &[
            ("my-header1", "value4"),
            ("my-header1", "value1"),
            ("my-header1", "value3"),
            ("my-header1", "value2"),
        ],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    },
    Case {
        name: "get-header-value-trim",
        method: "GET",
        target: "/",
        headers: &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    },
    Case {
        name: "get-relative-normalized",
        method: "GET",
        target: "/example/..",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    },
    Case {
        name: "get-relative-relative-normalized",
        method: "GET",
        target: "/example1/example2/../..",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    },
    Case {
        name: "get-slash-dot-slash-normalized",
        method: "GET",
        target: "/./",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    },
    Case {
        name: "get-slash-normalized",
        method: "GET",
        target: "//",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    },
    Case {
        name: "get-slash-pointless-dot-normalized",
        method: "GET",
        target: "/./example",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
    },
    Case {
        name: "get-slash-unnormalized",
        method: "GET",
        target: "//",
        headers: &[],
        body: "",
        token: None,
        path: Paths::AsTheyAre,
        signs_body: false,
        signature: "c88bcd3d312d75078c0cd961d6deae3f4c754924b01669efcfcb439fd5e5b76e",
    },
    Case {
        name: "get-slashes-normalized",
        method: "GET",
        target: "//example//",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    },
    Case {
        name: "get-slashes-unnormalized",
        method: "GET",
        target: "//example//",
        headers: &[],
        body: "",
        token: None,
        path: Paths::AsTheyAre,
        signs_body: false,
        signature: "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5",
    },
    Case {
        name: "get-space-normalized",
        method: "GET",
        target: "/example space/",
        headers: &[],
        body: "",
        token: None,
        path: Paths::AsTheyAre,
        signs_body: false,
        signature: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    },
    Case {
        name: "get-space-unnormalized",
        method: "GET",
        target: "/example space/",
        headers: &[],
        body: "",
        token: None,
        path: Paths::AsTheyAre,
        signs_body: false,
        signature: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    },
    Case {
        name: "get-unreserved",
        method: "GET",
        target: "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    },
    Case {
        name: "get-utf8",
        method: "GET",
        target: "/ሴ",
        headers: &[],
        body: "",
        token: None,
        path: Paths::AsTheyAre,
        signs_body: false,
        signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    },
    Case {
        name: "get-vanilla",
        method: "GET",
        target: "/",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    },
    Case {
        name: "get-vanilla-empty-query-key",
        method: "GET",
        target: "/?Param1=value1",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    },
    Case {
        name: "get-vanilla-query",
        method: "GET",
        target: "/",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    },
    Case {
        name: "get-vanilla-query-order-encoded",
        method: "GET",
        target: "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    },
    Case {
        name: "get-vanilla-query-order-key-case",
        method: "GET",
        target: "/?Param2=value2&Param1=value1",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    },
    Case {
        name: "get-vanilla-query-unreserved",
        method: "GET",
        target: "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    },
    Case {
        name: "get-vanilla-utf8-query",
        method: "GET",
        target: "/?ሴ=bar",
        headers: &[],
        body: "",
        token: None,
        path: Paths::AsTheyAre,
        signs_body: false,
        signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    },
    Case {
        name: "get-vanilla-with-session-token",
        method: "GET",
        target: "/",
        headers: &[],
        body: "",
        token: Some(SHORT),
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
    },
    Case {
        name: "post-header-key-case",
        method: "POST",
        target: "/",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    },
    Case {
        name: "post-header-key-sort",
        method: "POST",
        target: "/",
        headers: &[("my-header1", "value1")],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    },
    Case {
        name: "post-header-value-case",
        method: "POST",
        target: "/",
        headers: &[("my-header1", "VALUE1")],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    },
    Case {
        name: "post-sts-header-after",
        method: "POST",
        target: "/",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    },
    Case {
        name: "post-sts-header-before",
        method: "POST",
        target: "/",
        headers: &[],
        body: "",
        token: Some(LONG),
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    },
    Case {
        name: "post-vanilla",
        method: "POST",
        target: "/",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    },
    Case {
        name: "post-vanilla-empty-query-value",
        method: "POST",
        target: "/?Param1=value1",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    },
    Case {
        name: "post-vanilla-query",
        method: "POST",
        target: "/?Param1=value1",
        headers: &[],
        body: "",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: false,
        signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    },
    Case {
        name: "post-x-www-form-urlencoded",
        method: "POST",
        target: "/",
        headers: &[("content-type", "application/x-www-form-urlencoded"), ("content-length", "13")],
        body: "Param1=value1",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: true,
        signature: "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
    },
    Case {
        name: "post-x-www-form-urlencoded-parameters",
        method: "POST",
        target: "/",
        headers: &[("content-type", "application/x-www-form-urlencoded; charset=utf-8"), ("content-length", "13")],
        body: "Param1=value1",
        token: None,
        path: Paths::NormalizedAndTwice,
        signs_body: true,
        signature: "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
    },
];

fn at() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2015, 8, 30, 12, 36, 0).unwrap()
}

fn keys<'a>(service: &'a str, session_token: Option<&'a str>) -> Sigv4Keys<'a> {
    let secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    Sigv4Keys { access_key_id: "AKIDEXAMPLE", secret_access_key, session_token, region: "us-east-1", service }
}

fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn value<'h>(headers: &'h [(&str, String)], name: &str) -> &'h str {
    &headers.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name}")).1
}

#[test]
fn the_test_suite_of_aws_is_signed_as_it_says() {
    assert_eq!(CASES.len(), 34);
    for case in CASES {
        let keys = keys("service", case.token);
        let signing = Signing { keys: &keys, at: at(), path: case.path, signs_body: case.signs_body };
        let url = Url::parse(&format!("https://example.amazonaws.com{}", case.target)).unwrap();
        let added = signing.headers(case.method, &url, &pairs(case.headers), case.body.as_bytes());
        let proof = value(&added, "authorization");
        let scope = "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        assert!(proof.starts_with(&format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=")), "{}: {proof}", case.name);
        assert_eq!(proof.rsplit_once("Signature=").unwrap().1, case.signature, "{}: {proof}", case.name);
        assert_eq!(value(&added, "x-amz-date"), "20150830T123600Z");
        assert_eq!(added.iter().any(|(name, _)| *name == "x-amz-security-token"), case.token.is_some());
    }
}

#[test]
fn paths_are_normalized_and_encoded_once_more_but_for_s3() {
    let keys = keys("service", None);
    let path =
        |path: Paths, text: &str| Signing { keys: &keys, at: at(), path, signs_body: false }.canonical_path(text);
    for (text, usual, s3) in [
        ("/", "/", "/"),
        ("//", "/", "//"),
        ("/./", "/", "/./"),
        ("/./example", "/example", "/./example"),
        ("/example1/example2/../..", "/", "/example1/example2/../.."),
        ("/example/..", "/", "/example/.."),
        ("/../../a", "/a", "/../../a"),
        ("//example//", "/example/", "//example//"),
        ("/a/b/.", "/a/b/", "/a/b/."),
        ("/a/b/..", "/a/", "/a/b/.."),
        // the example of the documentation
        ("/documents%20and%20settings/", "/documents%2520and%2520settings/", "/documents%20and%20settings/"),
        ("/%E1%88%B4", "/%25E1%2588%25B4", "/%E1%88%B4"),
        ("/a(1)/b:c@d", "/a%281%29/b%3Ac%40d", "/a%281%29/b%3Ac%40d"),
    ] {
        assert_eq!(path(Paths::NormalizedAndTwice, text), usual, "{text}");
        assert_eq!(path(Paths::AsTheyAre, text), s3, "{text} for S3");
    }
}

/// "GET Object" in the documentation of S3 (API reference, "Signature calculations for the Authorization header").
#[test]
fn the_examples_of_s3_are_signed_as_it_says() {
    let keys = Sigv4Keys {
        access_key_id: "AKIAIOSFODNN7EXAMPLE",
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        session_token: None,
        region: "us-east-1",
        service: "s3",
    };
    let at = Utc.with_ymd_and_hms(2013, 5, 24, 0, 0, 0).unwrap();
    let bucket = "https://examplebucket.s3.amazonaws.com";
    for (method, target, given, body, signed, signature) in [
        (
            "GET",
            "/test.txt",
            vec![("range", "bytes=0-9")],
            "",
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            vec![("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            "Welcome to Amazon S3.",
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/?lifecycle",
            vec![],
            "",
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            vec![],
            "",
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let url = Url::parse(&format!("{bucket}{target}")).unwrap();
        let added = headers(&keys, method, &url, &pairs(&given), body.as_bytes(), at);
        assert_eq!(
            value(&added, "authorization"),
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders={signed}, Signature={signature}"
            ),
            "{method} {target}"
        );
        assert_eq!(value(&added, "x-amz-content-sha256").len(), 64);
    }
}

fn signed(url: &str, given: &[(&str, &str)]) -> String {
    let added = headers(&keys("execute-api", None), "get", &Url::parse(url).unwrap(), &pairs(given), b"", at());
    assert!(!added.iter().any(|(name, _)| *name == "x-amz-content-sha256"));
    value(&added, "authorization").to_owned()
}

#[test]
fn a_port_that_is_not_the_usual_one_is_part_of_the_host() {
    let plain = signed("https://api.example.com/x", &[]);
    assert_eq!(plain, signed("https://api.example.com:443/x", &[]));
    assert_ne!(plain, signed("https://api.example.com:8443/x", &[]));
    let url = Url::parse("https://api.example.com:8443/x").unwrap();
    assert_eq!(canonical_headers(&url, &[], &[]), ("host".to_owned(), "host:api.example.com:8443\n".to_owned()));
}

#[test]
fn what_changes_on_the_way_and_what_is_made_anew_is_not_signed() {
    let plain = signed("https://api.example.com/x", &[]);
    let more = [("user-agent", "x"), ("authorization", "old"), ("x-amz-date", "old"), ("host", "elsewhere.example")];
    assert_eq!(plain, signed("https://api.example.com/x", &more));
    assert_ne!(plain, signed("https://api.example.com/x", &[("x-other", "1")]));
}

#[test]
fn a_query_is_signed_and_sent_alike() {
    let plus = Url::parse("https://api.example.com/x?q=a+b&c=%2B&empty&none=&d=%7e-._*!'()%2f,:&%c3%a9=%ff").unwrap();
    let sent = with_query_as_signed(&plus);
    let query = "q=a%20b&c=%2B&empty&none=&d=~-._%2A%21%27%28%29%2F%2C%3A&%C3%A9=%FF";
    assert_eq!(sent.query(), Some(query));
    assert_eq!(signed(plus.as_str(), &[]), signed(sent.as_str(), &[]));
    assert_eq!(canonical_query("q=a+b&c=%2B&empty&a=2&a=1&A=0"), "A=0&a=1&a=2&c=%2B&empty=&q=a%20b");
    for without in ["https://api.example.com/a+b", "https://api.example.com/a+b?"] {
        let without = Url::parse(without).unwrap();
        assert_eq!(with_query_as_signed(&without), without);
    }
}

proptest::proptest! {
    /// A server sees the parameters in any order, and headers with any spaces around them.
    #[test]
    fn neither_the_order_of_parameters_nor_spaces_around_values_count(
        mut pairs in proptest::collection::vec(("[a-cA-C%+ &=~é]{0,3}", "[a-c%+ &=/é]{0,3}"), 0..6),
        spaces in "[ \t]{0,3}",
    ) {
        let url = |pairs: &[(String, String)]| {
            let mut url = Url::parse("https://api.example.com/x").unwrap();
            url.query_pairs_mut().extend_pairs(pairs);
            url.to_string()
        };
        let forwards = signed(&url(&pairs), &[("x-a", "b c")]);
        pairs.reverse();
        let backwards = signed(&url(&pairs), &[("x-a", &format!("{spaces}b {spaces}c{spaces}"))]);
        proptest::prop_assert_eq!(forwards, backwards);
    }
}
