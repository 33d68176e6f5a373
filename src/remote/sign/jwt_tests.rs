use base64::engine::general_purpose::STANDARD;
use chrono::TimeZone;
use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use secrecy::ExposeSecret;
use serde_json::json;

use super::*;

/// The key of appendix A.2.1 of RFC 7515.
const RSA_PEM: &str = include_str!("../../../tests/support/rsa.pem");
/// Appendix A.3.1 of RFC 7515: d, x, y.
const EC: [&str; 3] = [
    "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
];
/// Appendix A.1.1 of RFC 7515.
const SECRET: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
/// `{"iss":"joe",␍␊ "exp":1300819380,␍␊ "http://example.com/is_root":true}`
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const EC_OID: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256_OID: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

fn bytes(base64url: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(base64url).unwrap()
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u16::try_from(content.len()).unwrap().to_be_bytes() {
        [0, low @ 0..=0x7f] => out.push(low),
        [0, low] => out.extend([0x81, low]),
        [high, low] => out.extend([0x82, high, low]),
    }
    out.extend(content);
    out
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let zero: &[u8] = if bytes[0] > 0x7f { &[0] } else { &[] };
    der(2, &[zero, bytes].concat())
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The key of [`RSA_PEM`] without the frame of PKCS #8, which names its kind in 26 bytes.
fn pkcs1() -> Vec<u8> {
    let base64: String = RSA_PEM.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(base64).unwrap()[26..].to_vec()
}

fn point() -> Vec<u8> {
    [vec![4], bytes(EC[1]), bytes(EC[2])].concat()
}

/// With the optional name of the curve, as `openssl ecparam -genkey` writes it.
fn sec1(named: bool) -> Vec<u8> {
    let curve = if named { der(0xa0, P256_OID) } else { Vec::new() };
    let public = der(0xa1, &der(3, &[vec![0], point()].concat()));
    der(0x30, &[integer(&[1]), der(4, &bytes(EC[0])), curve, public].concat())
}

fn pkcs8(oid: &[&[u8]], key: &[u8]) -> Vec<u8> {
    der(0x30, &[integer(&[0]), der(0x30, &oid.concat()), der(4, key)].concat())
}

fn ec_pem() -> String {
    pem("PRIVATE KEY", &pkcs8(&[EC_OID, P256_OID], &sec1(false)))
}

fn signed(algorithm: Algorithm, key: &str, text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Key::new(algorithm, key).unwrap().sign(text.as_bytes()).unwrap())
}

fn refused(algorithm: Algorithm, key: &str) -> String {
    let error = jwt(algorithm, key, &[], &Map::new()).expect_err("it is refused");
    // no part of the key is quoted
    for part in key.split_whitespace().filter(|part| part.len() > 12 && !part.contains("KEY")) {
        assert!(!error.contains(part), "{error}");
    }
    error
}

#[test]
fn hs256_as_in_rfc_7515() {
    // appendix A.1; the key has bytes that are no text
    let key = Key::Secret(hmac::Key::new(hmac::HMAC_SHA256, &bytes(SECRET)));
    let signature = key.sign(format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}").as_bytes()).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(signature), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

/// The first example of <https://jwt.io>: the secret is text there.
#[test]
fn hs256_with_a_secret_that_is_text() {
    let claims = json!({ "sub": "1234567890", "name": "John Doe", "iat": 1_516_239_022 });
    let token = jwt(Algorithm::Hs256, "your-256-bit-secret", &[], claims.as_object().unwrap()).unwrap();
    assert_eq!(
        token.expose_secret(),
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
         eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.\
         SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
    );
    assert_eq!(refused(Algorithm::Hs256, ""), "the secret for HS256 is empty");
    let error = refused(Algorithm::Hs256, "my-very-long-secret\n");
    assert_eq!(error, "the secret for HS256 ends with a line break; was it read from a file?");
}

#[test]
fn rs256_as_in_rfc_7515() {
    // appendix A.2: the same signature from both forms of the key
    let text = format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}");
    for key in [RSA_PEM.to_owned(), pem("RSA PRIVATE KEY", &pkcs1())] {
        assert_eq!(
            signed(Algorithm::Rs256, &key, &text),
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t\
             1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j\
             zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ\
             Ge77Rw"
        );
        assert_eq!(fitting_algorithm(&key), Ok(Algorithm::Rs256));
    }
}

#[test]
fn es256_as_in_rfc_7515() {
    // appendix A.3; no two signatures are alike, so it is verified: first the one of the RFC, then our own
    let text = format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}");
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point());
    let known = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    public.verify(text.as_bytes(), &bytes(known)).expect("the RFC's own");
    for key in [ec_pem(), pem("EC PRIVATE KEY", &sec1(false)), pem("EC PRIVATE KEY", &sec1(true))] {
        let signature = bytes(&signed(Algorithm::Es256, &key, &text));
        assert_eq!(signature.len(), 64);
        public.verify(text.as_bytes(), &signature).expect("ours");
        assert!(public.verify(b"something else", &signature).is_err());
        assert_eq!(fitting_algorithm(&key), Ok(Algorithm::Es256));
    }
}

#[test]
fn a_key_is_read_as_it_comes_through_the_environment() {
    let key = RSA_PEM;
    let text = "a.b";
    let expected = signed(Algorithm::Rs256, key, text);
    for given in [
        key.trim_end().to_owned(),
        format!("  \n{key}\n "),
        key.replace('\n', "\\n"),
        key.replace('\n', "\\r\\n"),
        key.replace('\n', "\r\n"),
        key.replace('\n', " "),
        key.replace('\n', ""),
        format!("\"{}\"", key.replace('\n', "\\n")),
        STANDARD.encode(key),
        format!("Bag Attributes\n    friendlyName: x\n{key}"),
        format!("{}{key}", pem("EC PARAMETERS", P256_OID)),
        format!("{}{key}", pem("CERTIFICATE", b"whatever it is")),
    ] {
        assert_eq!(signed(Algorithm::Rs256, &given, text), expected, "{given}");
    }
}

#[test]
fn what_is_no_usable_key_is_told_and_never_quoted() {
    let (rsa, ec) = (RSA_PEM.to_owned(), ec_pem());
    let cut = |text: &str| text.split("-----END").next().unwrap().to_owned();
    let bare = der(0x30, &[integer(&[1]), der(4, &bytes(EC[0]))].concat());
    let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,8F00\n\nAAAA\n-----END RSA PRIVATE KEY-----";
    for (algorithm, key, expected) in [
        (Algorithm::Rs256, String::new(), "the private key is empty"),
        (Algorithm::Rs256, "MIIEvQIBADANBgkqhkiG9w0BAQEF".to_owned(), "no PEM"),
        (Algorithm::Rs256, "secret".to_owned(), "no PEM"),
        (Algorithm::Rs256, "{\"private_key\": \"-----BEGIN\"}".to_owned(), "a JSON document"),
        (Algorithm::Rs256, cut(&rsa), "cut off"),
        (Algorithm::Rs256, rsa.replace("MII", "M%I"), "no base64"),
        (Algorithm::Rs256, pem("RSA PRIVATE KEY", &pkcs1()[..900]), "the RSA key is damaged"),
        (Algorithm::Rs256, encrypted.to_owned(), "encrypted with a password"),
        (Algorithm::Rs256, pem("ENCRYPTED PRIVATE KEY", b"x"), "encrypted with a password"),
        (Algorithm::Rs256, pem("CERTIFICATE", b"x"), "a certificate"),
        (Algorithm::Rs256, pem("PUBLIC KEY", b"x"), "a public key"),
        (Algorithm::Rs256, pem("RSA PUBLIC KEY", b"x"), "a public key"),
        (Algorithm::Rs256, pem("OPENSSH PRIVATE KEY", b"x"), "in the form of OpenSSH"),
        (Algorithm::Rs256, pem("EC PARAMETERS", b"x"), "PEM of something else"),
        (Algorithm::Rs256, ec.clone(), "no RSA key"),
        (Algorithm::Rs256, pem("EC PRIVATE KEY", &sec1(true)), "no RSA key"),
        (Algorithm::Rs256, SHORT_RSA.to_owned(), "shorter than 2048 bits"),
        (Algorithm::Es256, rsa, "is an RSA key"),
        (Algorithm::Es256, pem("RSA PRIVATE KEY", &pkcs1()), "is an RSA key"),
        (Algorithm::Es256, P384.to_owned(), "not one of the elliptic curve P-256"),
        (Algorithm::Es256, pem("EC PRIVATE KEY", &bare), "has no public key in it"),
        (Algorithm::Es256, pem("EC PRIVATE KEY", b"x"), "damaged"),
        (Algorithm::Es256, pem("PRIVATE KEY", b"x"), "damaged"),
    ] {
        let error = refused(algorithm, &key);
        assert!(error.contains(expected), "{key}: {error}");
    }
}

#[test]
fn the_header_takes_more_members_but_no_other_algorithm() {
    let header = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let token = jwt(Algorithm::Hs256, "secret", &pairs, &Map::new())?;
        let first = token.expose_secret().split('.').next().unwrap().to_owned();
        Ok::<_, String>(String::from_utf8(bytes(&first)).unwrap())
    };
    assert_eq!(header(&[("kid", "a\"b")]).unwrap(), r#"{"alg":"HS256","typ":"JWT","kid":"a\"b"}"#);
    assert_eq!(header(&[("typ", "at+jwt"), ("alg", "HS256")]).unwrap(), r#"{"alg":"HS256","typ":"at+jwt"}"#);
    let error = header(&[("alg", "none")]).expect_err("another algorithm");
    assert_eq!(error, "the header of the token names another `alg` than HS256, by which it is signed");
}

#[test]
fn claims_get_times_unless_they_have_them() {
    let now = Utc.timestamp_opt(1_600_000_000, 0).unwrap();
    let claims = |value: Value| value.as_object().unwrap().clone();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    // the claims of RFC 7523, section 4
    let own = json!({ "iss": "https://jwt-idp.example.com", "sub": "mailto:mike@example.com",
        "aud": "https://jwt-rp.example.net", "http://claims.example.com/member": true });
    let timed_own = timed(claims(own.clone()), now, minutes(5), Some("id-1"));
    let mut expected = claims(own);
    expected.extend(claims(json!({ "iat": 1_599_999_970, "exp": 1_600_000_270, "jti": "id-1" })));
    assert_eq!(timed_own, expected);
    // an hour is an hour, for those that allow no more
    let hour = timed(Map::new(), now, minutes(60), None);
    assert_eq!(Value::Object(hour), json!({ "iat": 1_599_999_970, "exp": 1_600_003_570 }));
    // what lasts short is not over before it is sent
    let short = timed(Map::new(), now, minutes(1), None);
    assert_eq!(Value::Object(short), json!({ "iat": 1_599_999_994, "exp": 1_600_000_054 }));
    let own = json!({ "exp": "soon", "jti": 7 });
    let timed = timed(claims(own), now, minutes(5), Some("id-1"));
    assert_eq!(Value::Object(timed), json!({ "exp": "soon", "jti": 7, "iat": 1_599_999_970 }));
}

#[test]
fn a_whole_token_verifies() {
    let claims = json!({ "iss": "me", "n": 1 });
    let token = jwt(Algorithm::Rs256, RSA_PEM, &[("kid".into(), "k1".into())], claims.as_object().unwrap()).unwrap();
    let (text, signature) = token.expose_secret().rsplit_once('.').unwrap();
    let public = PrivateKey::from_pem(RSA_PEM).unwrap().rsa().unwrap().public_key().as_ref().to_vec();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
    public.verify(text.as_bytes(), &bytes(signature)).expect("it is signed");
    let payload = bytes(text.split_once('.').unwrap().1);
    assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), claims);
}

proptest::proptest! {
    /// Whatever is given as a key is refused with words, and none of them is the key.
    #[test]
    fn no_text_breaks_the_reading_of_keys(
        label in "(RSA |EC |ENCRYPTED |X)?PRIVATE KEY|CERTIFICATE|[ -~é]{0,9}",
        body in "[A-Za-z0-9+/=\\n é-]{0,200}",
        end in "(-----END)?",
    ) {
        let key = format!("-----BEGIN {label}-----{body}{end}");
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            let error = jwt(algorithm, &key, &[], &Map::new()).expect_err("it is no key");
            proptest::prop_assert!(body.trim().len() < 12 || !error.contains(body.trim()));
        }
    }
}

/// Made for this test with `openssl genrsa -traditional 1024`.
const SHORT_RSA: &str = "\
-----BEGIN RSA PRIVATE KEY-----\n\
MIICXAIBAAKBgQDVVj6rtRTmn4rR8WMfVAC0be2E1sZxdHOCojJ2WI1Ht1bEv6BT\n\
7ylRS+8pKsjdOT/mBOuBDXv9awVlLsgPj0xifHejPs3eccjro5bPxxgiZdkOZ9z+\n\
bTGhC3EB9UHStyyu9R2pALrWJZyhzxCrnGrVk3BPLqPUzMLQg0yCNbMsRQIDAQAB\n\
AoGAZXSJg2EvmmnfO+5/BEQPvb7ViSoW35fQ4xw9wVhlf+ip5BF5rtD7JkVlbH+D\n\
XOnAAKTwVsRR5ffCbhcsX3H3kbPa1m7HcP5wirINesLctA6njGI8lSGjkdLANmJZ\n\
c9T+fO/yhAz/u85KnpcQtzQQlIVFVUUTCu3LkBhjQVqrggECQQD7n8pbhKYwRFbS\n\
sJndnf1BO1422WairpCG7jLVzjThNOUVQBasjraOQiwcqbk9cDQGOd5LhuFu79Sf\n\
49HkHleBAkEA2QwAqYs+iEJT2zTG+0wbePE216GuZMcxv4KxZpF0soXOVtbDKfac\n\
q8cSb31oypklCiNGELBhYjkEUOu+BzTWxQJAM3LAlWXR9RyEBCBH1aBwH95brStW\n\
aPz4YB5kFoNLHKEMFgQ8npuvh/bPviyVy5IdkQhUA21Yuq4e83JJgDMUAQJBAMvv\n\
dSfYx9ary7Lp8hTou991dfxB1GSorVuuZxVikm2zP99kR1hEeY0FrZLIGRBTuPO/\n\
lPPVZost25pVBuYqhakCQDxkTA67TLXK7p8wpgqOfndd9d554p9iY4nhzhHgB3+n\n\
kyhumHHTOm9+dfVCXkeC4KoKekL2qp6yld0SPtgnwvY=\n\
-----END RSA PRIVATE KEY-----\n\
";
/// Made for this test with `openssl ecparam -name secp384r1 -genkey`.
const P384: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDDNRX69Zjs9Uiwnv7KP\n\
y3XMbLW+VAEfnyBzbrC8ab8BXFKuMkzE5mUYlkXlFvUmT7ChZANiAATyCJVayK2R\n\
tUyAhr4W4vIiWCEilo2ZhKOGh5XnT2Xk7U36IGnOhtY9SdWkT7eg0h9WgcddoFeB\n\
QIfTzv8VYoK2Js6/yUerPQIPe9eIcJyGoDWFUVsKGNecTDGfH9YQ4Ys=\n\
-----END PRIVATE KEY-----\n\
";
