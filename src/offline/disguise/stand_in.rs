//! What stands in place of a value: made up, of the same form, and the same each time for the same key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ring::hmac;

use super::kind::{Kind, is_uuid};
use super::words::{FIRST, LAST, PLACES, WORDS};

/// Makes what stands in place of values. Without its key nobody can tell of what.
pub(super) struct Maker(hmac::Key);

/// Numbers that depend on the key and on a value.
struct Chance {
    bytes: Vec<u8>,
    at: usize,
}

impl Chance {
    /// Below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let mut number = 0_usize;
        for _ in 0..4 {
            number = (number << 8) | usize::from(self.bytes[self.at % self.bytes.len()]);
            self.at += 1;
        }
        number % bound.max(1)
    }

    fn one<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.below(words.len())]
    }
}

impl Maker {
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    fn chance(&self, kind: Kind, text: &str, attempt: u32) -> Chance {
        let mut bytes = Vec::new();
        // enough for a text of many characters, each from bits of its own
        let blocks = text.len() / 8 + 4;
        for block in 0..blocks {
            let message = format!("{}\u{0}{attempt}\u{0}{block}\u{0}{text}", kind.as_str());
            bytes.extend_from_slice(hmac::sign(&self.0, message.as_bytes()).as_ref());
        }
        Chance { bytes, at: 0 }
    }

    /// What stands in place of a text; another one with each attempt.
    pub fn of(&self, kind: Kind, text: &str, attempt: u32) -> String {
        let mut chance = self.chance(kind, text, attempt);
        match kind {
            Kind::Email => {
                let (first, last) = (chance.one(&FIRST).to_lowercase(), chance.one(&LAST).to_lowercase());
                format!("{first}.{last}{}@example.com", chance.below(1_000))
            }
            Kind::Phone | Kind::Code | Kind::Secret => alike(text, &mut chance),
            Kind::Name => name(text, attempt, &mut chance),
            Kind::Address => {
                let place = chance.one(&PLACES);
                if text.chars().any(|c| c.is_ascii_digit()) || text.contains(' ') || attempt > 2 {
                    format!("{} {place} Street", chance.below(980) + 10)
                } else {
                    place.to_owned()
                }
            }
            Kind::Ip => ip(text, &mut chance).to_string(),
            Kind::Url => format!("https://example.com/{}", alike("aaaaa0000", &mut chance)),
            Kind::Text => words(text, attempt, &mut chance),
            Kind::Id => id(text, &mut chance),
            Kind::Birth => birth(text, &mut chance),
            Kind::Position => alike(text, &mut chance),
        }
    }

    /// 32 bits of chance for a number.
    pub fn bits(&self, text: &str) -> u32 {
        let chance = self.chance(Kind::Id, text, 0);
        chance.bytes.iter().take(4).fold(0, |bits, byte| (bits << 8) | u32::from(*byte))
    }

    /// A number between 0 and 1 for a place on the earth.
    pub fn fraction(&self, text: &str) -> f64 {
        let number = self.chance(Kind::Position, text, 0).below(1_000_000);
        f64::from(u32::try_from(number).unwrap_or(0)) / 1e6
    }
}

/// Letters for letters, digits for digits: as long, and no zero at the beginning that was not there.
fn alike(text: &str, chance: &mut Chance) -> String {
    let is_hex =
        text.chars().all(|c| c.is_ascii_hexdigit() || c == '-') && text.contains(|c: char| c.is_ascii_alphabetic());
    let mut is_first = true;
    let mut one = |c: char| {
        let new = match c {
            '0' if is_first => '0',
            '0'..='9' if is_first => digit(chance.below(9) + 1),
            '0'..='9' => digit(chance.below(10)),
            'a'..='z' => letter(b'a', chance.below(if is_hex { 6 } else { 26 })),
            'A'..='Z' => letter(b'A', chance.below(if is_hex { 6 } else { 26 })),
            c if c.is_alphabetic() => letter(b'a', chance.below(26)),
            c => c,
        };
        is_first = is_first && !c.is_ascii_digit();
        new
    };
    text.chars().map(&mut one).collect()
}

fn digit(number: usize) -> char {
    letter(b'0', number)
}

fn letter(first: u8, number: usize) -> char {
    char::from(first + u8::try_from(number).unwrap_or(0))
}

/// As many words as there were, a login in small letters.
fn name(text: &str, attempt: u32, chance: &mut Chance) -> String {
    let (first, last) = (chance.one(&FIRST), chance.one(&LAST));
    let number = if attempt > 2 { format!("{}", chance.below(9_000) + 100) } else { String::new() };
    let has_upper = text.chars().any(char::is_uppercase);
    let is_word = !text.contains(char::is_whitespace);
    match (is_word, has_upper) {
        (true, false) if text.is_ascii() => format!("{}{}", first.to_lowercase(), chance.below(900) + 100),
        (true, _) => format!("{first}{number}"),
        (false, _) => format!("{first} {last}{}{number}", if number.is_empty() { "" } else { " " }),
    }
}

/// Words that a text is made of, at most.
const WORDS_MAX: usize = 12;

fn words(text: &str, attempt: u32, chance: &mut Chance) -> String {
    let number = text.split_whitespace().count().clamp(1, WORDS_MAX) + usize::from(attempt > 2);
    let all: Vec<&str> = (0..number).map(|_| chance.one(&WORDS)).collect();
    let text = all.join(" ");
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Addresses for documentation (RFC 5737, RFC 3849), and where these are used up of networks for tests (RFC 2544).
fn ip(text: &str, chance: &mut Chance) -> IpAddr {
    let byte = |chance: &mut Chance| u8::try_from(chance.below(254) + 1).unwrap_or(1);
    let word = |chance: &mut Chance| u16::try_from(chance.below(0xffff)).unwrap_or(1);
    if text.contains(':') {
        let [a, b] = [word(chance), word(chance)];
        return Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, a, b).into();
    }
    let last = byte(chance);
    match chance.below(4) {
        0 => Ipv4Addr::new(192, 0, 2, last).into(),
        1 => Ipv4Addr::new(198, 51, 100, last).into(),
        2 => Ipv4Addr::new(203, 0, 113, last).into(),
        _ => Ipv4Addr::new(198, 18, byte(chance), last).into(),
    }
}

/// An id keeps what says of what it is: `cus_` of `cus_Nf1…`, version and variant of a UUID.
fn id(text: &str, chance: &mut Chance) -> String {
    if is_uuid(text) {
        let new = alike(text, chance);
        let kept = |at: usize| at == 14 || at == 19;
        return text.char_indices().zip(new.chars()).map(|((at, old), new)| if kept(at) { old } else { new }).collect();
    }
    let is_mark = |mark: &str| mark.len() <= 10 && mark.chars().all(|c| c.is_ascii_lowercase());
    match text.split_once('_') {
        Some((mark, rest)) if is_mark(mark) => format!("{mark}_{}", id(rest, chance)),
        _ => alike(text, chance),
    }
}

/// Another day, in the same form.
fn birth(text: &str, chance: &mut Chance) -> String {
    let (year, month, day) = (1950 + chance.below(50), chance.below(12) + 1, chance.below(28) + 1);
    match text.get(10..) {
        Some(rest) if text.as_bytes().get(4) == Some(&b'-') => format!("{year}-{month:02}-{day:02}{rest}"),
        _ => alike(text, chance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_has_the_form_of_what_was_there() {
        let maker = Maker::new(b"key");
        let made = |kind, text| maker.of(kind, text, 0);
        assert!(made(Kind::Email, "a@b.org").ends_with("@example.com"));
        let phone = made(Kind::Phone, "+44 (20) 7946-0018");
        assert_eq!(phone.replace(|c: char| c.is_ascii_digit(), "0"), "+00 (00) 0000-0000");
        let uuid = made(Kind::Id, "3fa85f64-5717-4562-b3fc-2c963f66afa6");
        assert!(is_uuid(&uuid) && uuid.as_bytes()[14] == b'4' && uuid.as_bytes()[19] == b'b', "{uuid}");
        let id = made(Kind::Id, "cus_NffrFeUfNV2Hib");
        assert!(id.starts_with("cus_") && id.len() == 18 && id != "cus_NffrFeUfNV2Hib", "{id}");
        assert_eq!(made(Kind::Name, "Ada Byron").split(' ').count(), 2);
        assert_eq!(made(Kind::Birth, "1815-12-10").len(), 10);
        assert!(made(Kind::Code, "90210").parse::<u32>().is_ok_and(|code| code >= 10_000));
        assert!(made(Kind::Ip, "10.0.0.1").parse::<Ipv4Addr>().is_ok());
        assert!(made(Kind::Ip, "::1").starts_with("2001:db8:"));
        assert_eq!(made(Kind::Text, "one two three").split(' ').count(), 3);
    }

    #[test]
    fn another_key_makes_others() {
        let made = |key: &[u8]| Maker::new(key).of(Kind::Code, "ABCDEFGH12345678", 0);
        assert_eq!(made(b"one"), made(b"one"));
        assert_ne!(made(b"one"), made(b"other"));
    }
}
