//! What a value is, by the name of its key and by its shape.

use std::net::IpAddr;

use url::Url;

use super::moment::is_moment;

/// What is replaced, and so with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// lets somebody in
    Secret,
    /// an address at example.com
    Email,
    /// a number to call
    Phone,
    /// a person, a company
    Name,
    /// a street, a place
    Address,
    /// an address of a machine, out of those for documentation
    Ip,
    /// a page somewhere else
    Url,
    /// what somebody has written
    Text,
    /// tells one thing from another
    Id,
    /// a day of birth
    Birth,
    /// a code of a person or a thing: letters for letters, digits for digits
    Code,
    /// a place on the earth
    Position,
}

impl Kind {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Email => "e-mail address",
            Self::Phone => "phone number",
            Self::Name => "name",
            Self::Address => "address",
            Self::Ip => "IP address",
            Self::Url => "URL",
            Self::Text => "text",
            Self::Id => "id",
            Self::Birth => "date of birth",
            Self::Code => "code",
            Self::Position => "position",
        }
    }
}

const SECRETS: &[&str] = &[
    "token",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "authtoken",
    "sessiontoken",
    "bearertoken",
    "secret",
    "clientsecret",
    "sharedsecret",
    "webhooksecret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "signingkey",
    "authorization",
    "signature",
    "sig",
    "xamzsignature",
    "xamzcredential",
    "xamzsecuritytoken",
    "hmac",
    "session",
    "sessionid",
    "cookie",
    "setcookie",
    "csrf",
    "csrftoken",
    "xsrftoken",
    "otp",
    "pin",
    "jwt",
    "bearer",
];
const NAMES: &[&str] = &[
    "name",
    "firstname",
    "lastname",
    "fullname",
    "displayname",
    "givenname",
    "familyname",
    "middlename",
    "surname",
    "nickname",
    "username",
    "login",
    "handle",
    "screenname",
    "author",
    "owner",
    "assignee",
    "creator",
    "reporter",
    "contact",
    "company",
    "organization",
    "organisation",
    "customer",
    "recipient",
    "sender",
    "from",
    "to",
    "cc",
    "bcc",
    "employer",
    "manager",
    "spouse",
    "workspace",
    "cardholder",
    "attendee",
    "participant",
    "guest",
    "member",
    "user",
    "person",
    "patient",
];
/// Keys that end with `name` and tell of no person.
const NO_NAMES: &[&str] =
    &["typename", "eventname", "fieldname", "columnname", "propertyname", "tablename", "methodname", "timezonename"];
const TEXTS: &[&str] = &[
    "subject",
    "body",
    "text",
    "description",
    "title",
    "note",
    "comment",
    "message",
    "summary",
    "content",
    "bio",
    "about",
    "memo",
    "snippet",
    "html",
    "caption",
    "headline",
    "question",
    "answer",
    "detail",
    "remark",
    "instruction",
    "feedback",
    "review",
    "greeting",
    "excerpt",
    "story",
    "abstract",
    "transcript",
    "reply",
    "bodytext",
    "bodyhtml",
    "plaintext",
];
const ADDRESSES: &[&str] = &[
    "address",
    "address1",
    "address2",
    "addressline1",
    "addressline2",
    "line1",
    "line2",
    "street",
    "street1",
    "street2",
    "streetaddress",
    "city",
    "town",
    "suburb",
    "county",
    "district",
    "neighborhood",
    "formattedaddress",
    "apartment",
    "building",
    "location",
    "place",
    "hometown",
    "birthplace",
    "locality",
    "postaladdress",
    "mailingaddress",
];
const CODES: &[&str] = &[
    "zip",
    "zipcode",
    "postalcode",
    "postcode",
    "ssn",
    "taxid",
    "vat",
    "vatid",
    "vatnumber",
    "taxnumber",
    "iban",
    "bic",
    "swift",
    "accountnumber",
    "routingnumber",
    "cardnumber",
    "last4",
    "fingerprint",
    "passport",
    "passportnumber",
    "licensenumber",
    "licenseplate",
    "nationalid",
    "personalnumber",
    "employeenumber",
    "imei",
    "macaddress",
    "deviceid",
    "serial",
    "serialnumber",
    "trackingnumber",
    "receiptnumber",
    "slug",
    "permalink",
    "subdomain",
    "domain",
    "hostname",
    "host",
    "filename",
    "file",
    "path",
];
const PHONES: &[&str] = &["phone", "mobile", "fax", "tel", "telephone", "cell", "msisdn", "whatsapp", "landline"];
const BIRTHS: &[&str] = &["birthday", "birthdate", "dateofbirth", "dob", "birth", "born"];
const POSITIONS: &[&str] = &["lat", "latitude", "lng", "lon", "long", "longitude"];

/// A key without what people write it differently with: `First-Name` is `firstname`.
pub(super) fn plain_key(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// `emails` is `email`, and `address` itself.
fn singular(plain: &str) -> &str {
    if plain.ends_with("ss") { plain } else { plain.strip_suffix('s').unwrap_or(plain) }
}

/// What the values under a key are, whatever they look like.
pub(super) fn by_key(key: &str) -> Option<Kind> {
    let plain = plain_key(key);
    let single = singular(&plain);
    let is = |words: &[&str]| words.contains(&plain.as_str()) || words.contains(&single);
    let table = [
        (SECRETS, Kind::Secret),
        (PHONES, Kind::Phone),
        (BIRTHS, Kind::Birth),
        (POSITIONS, Kind::Position),
        (CODES, Kind::Code),
        (ADDRESSES, Kind::Address),
        (TEXTS, Kind::Text),
        (NAMES, Kind::Name),
    ];
    if let Some((_, kind)) = table.iter().find(|(words, _)| is(words)) {
        return Some(*kind);
    }
    let is_name = single.ends_with("name") && !NO_NAMES.contains(&single);
    match () {
        () if single.ends_with("phone") || single.ends_with("phonenumber") => Some(Kind::Phone),
        () if single.ends_with("password") || single.ends_with("secret") || single.ends_with("apikey") => {
            Some(Kind::Secret)
        }
        () if is_name => Some(Kind::Name),
        () if single.ends_with("comment") || single.ends_with("description") || single.ends_with("message") => {
            Some(Kind::Text)
        }
        () if single.ends_with("address") => Some(Kind::Address),
        () => None,
    }
}

/// Whether a key names what tells one thing from another.
pub(super) fn is_id_key(key: &str) -> bool {
    let plain = plain_key(key);
    let single = singular(&plain);
    ["id", "uuid", "guid", "uid", "key", "number", "ref", "reference", "nodeid", "gid"].contains(&single)
        || key.ends_with("_id")
        || key.ends_with("_ids")
        || key.ends_with("Id")
        || key.ends_with("Ids")
        || key.ends_with("ID")
}

/// Digits from which on a number under the key of an id is one: shorter ones are counters, and everywhere.
pub(super) const ID_DIGITS_MIN: usize = 6;
/// Characters from which on a text without spaces is an id or a token, whatever its key is.
const OPAQUE_CHARS_MIN: usize = 20;
/// The same under the key of an id.
const ID_CHARS_MIN: usize = 8;
/// Words from which on a text is what somebody has written.
const TEXT_WORDS_MIN: usize = 6;

/// What a text is, whatever its key is.
pub(super) fn by_shape(text: &str) -> Option<Kind> {
    if is_moment(text) {
        return None;
    }
    if is_email(text) {
        return Some(Kind::Email);
    }
    if text.parse::<IpAddr>().is_ok() {
        return Some(Kind::Ip);
    }
    if is_phone(text) {
        return Some(Kind::Phone);
    }
    if is_uuid(text) || is_opaque(text, OPAQUE_CHARS_MIN) {
        return Some(Kind::Id);
    }
    (text.split_whitespace().count() >= TEXT_WORDS_MIN).then_some(Kind::Text)
}

/// Whether a text under the key of an id is one that tells of its thing.
pub(super) fn is_id(text: &str) -> bool {
    is_uuid(text) || is_opaque(text, ID_CHARS_MIN) || is_long_number(text)
}

/// Digits alone, and enough of them.
pub(super) fn is_long_number(text: &str) -> bool {
    (ID_DIGITS_MIN..=18).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0')
}

/// Whether a text is a whole URL of the web.
pub(super) fn url(text: &str) -> Option<Url> {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    if is_web && !text.contains(char::is_whitespace) { Url::parse(text).ok() } else { None }
}

pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let is_local = |c: char| c.is_alphanumeric() || "!#$%&'*+/=?^_`{|}~.-".contains(c);
    let is_domain = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
    !local.is_empty()
        && local.chars().all(is_local)
        && domain.chars().all(is_domain)
        && domain.split_once('.').is_some_and(|(name, end)| !name.is_empty() && end.len() >= 2)
}

fn is_phone(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let is_part = |c: char| c.is_ascii_digit() || " ()-./".contains(c);
    match text.strip_prefix('+') {
        Some(rest) => (7..=15).contains(&digits) && rest.chars().all(is_part),
        None => (9..=15).contains(&digits) && text.starts_with('(') && text.chars().all(is_part),
    }
}

pub(super) fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

fn is_opaque(text: &str, least: usize) -> bool {
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    text.len() >= least
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-+/=.~:|".contains(&byte))
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_what_is_under_them() {
        let table = [
            ("First-Name", Some(Kind::Name)),
            ("customerName", Some(Kind::Name)),
            ("__typename", None),
            ("work_phone", Some(Kind::Phone)),
            ("notes", Some(Kind::Text)),
            ("next_page_token", None),
            ("access_token", Some(Kind::Secret)),
            ("X-Amz-Signature", Some(Kind::Secret)),
            ("status", None),
            ("state", None),
            ("billing_address", Some(Kind::Address)),
            ("dateOfBirth", Some(Kind::Birth)),
            ("amount", None),
        ];
        for (key, kind) in table {
            assert_eq!(by_key(key), kind, "{key}");
        }
        assert!(["id", "order_id", "customerId", "ids", "UUID"].into_iter().all(is_id_key));
        assert!(!["paid", "status", "valid"].into_iter().any(is_id_key));
    }

    #[test]
    fn shapes_tell_what_a_text_is() {
        let table = [
            ("ada.l+x@mail.example.org", Some(Kind::Email)),
            ("ada@localhost", None),
            ("+44 20 7946 0018", Some(Kind::Phone)),
            ("(020) 7946-0018", Some(Kind::Phone)),
            ("10.1.2.3", Some(Kind::Ip)),
            ("2a00:1450::1", Some(Kind::Ip)),
            ("3fa85f64-5717-4562-b3fc-2c963f66afa6", Some(Kind::Id)),
            ("cus_NffrFeUfNV2HibXyz123", Some(Kind::Id)),
            ("please call me back before noon tomorrow", Some(Kind::Text)),
            ("2024-05-01T08:00:00Z", None),
            ("pending", None),
            ("in_progress_since_yesterday", None),
            ("12.50", None),
        ];
        for (text, kind) in table {
            assert_eq!(by_shape(text), kind, "{text}");
        }
    }
}
