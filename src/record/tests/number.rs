use proptest::prelude::*;

use super::fixture::number_text;
use crate::record::number::{Misfit, Number, same};

fn canonical(text: &str) -> String {
    let mut out = String::new();
    Number::parse(text).expect("a number").write_canonical(&mut out);
    out
}

#[test]
fn only_json_spellings_are_numbers() {
    for text in ["0", "-0", "1", "-1", "10", "0.0", "1.50", "1e5", "1E5", "1e+5", "1e-5", "0e0", "-12.340e-7"] {
        assert!(Number::parse(text).is_some(), "{text}");
    }
    for text in [
        "",
        "-",
        "+1",
        ".5",
        "5.",
        "01",
        "-01",
        "1e",
        "1e+",
        "1.e5",
        "1_000",
        " 1",
        "1 ",
        "0x1f",
        "NaN",
        "Infinity",
        "1,5",
        "١",
        "1e5.0",
        "--1",
        "1e0000000001000000000000000000",
    ] {
        assert!(Number::parse(text).is_none(), "{text}");
    }
    assert_eq!(canonical("1e0000000000000000000000000005"), "1e5", "leading zeros of an exponent do not count");
}

#[test]
fn a_value_has_one_canonical_spelling() {
    for (spellings, canonical_text) in [
        (&["1", "1.0", "1e0", "10e-1", "0.1e1", "0.01e+2", "1.000"][..], "1"),
        (&["0", "-0", "0.0", "-0.000", "0e99", "-0e-99"], "0"),
        (&["100", "1e2", "1.00e2", "0.001e5"], "1e2"),
        (&["-1.5", "-15e-1", "-0.15e1"], "-15e-1"),
        (
            &["12345678901234567890123456789.5", "123456789012345678901234567895e-1"],
            "123456789012345678901234567895e-1",
        ),
        (&["0.0070", "7e-3"], "7e-3"),
        (&["1020", "102e1", "10.2e2"], "102e1"),
    ] {
        for text in spellings {
            assert_eq!(canonical(text), canonical_text, "{text}");
            assert!(same(text, spellings[0]), "{text}");
        }
    }
}

#[test]
fn different_values_differ_to_the_last_digit() {
    for (left, right) in [
        ("9007199254740993", "9007199254740992"),
        ("1", "-1"),
        ("1e2", "1e3"),
        ("12.3", "1.23"),
        ("0.10000000000000000000000001", "0.1"),
        ("1e99999999999999999999", "1e99999999999999999998"),
    ] {
        assert!(!same(left, right), "{left} {right}");
    }
    assert!(same("1e99999999999999999999", "1e99999999999999999999"), "equal spellings are equal at any size");
}

#[test]
fn whole_numbers_keep_every_digit() {
    let integer = |text: &str| Number::parse(text).expect("a number").integer();
    assert_eq!(integer("170141183460469231731687303715884105727"), Ok(i128::MAX));
    assert_eq!(integer("-170141183460469231731687303715884105728"), Ok(i128::MIN));
    assert_eq!(integer("170141183460469231731687303715884105728"), Err(Misfit::TooLarge));
    assert_eq!(integer("1e38"), Ok(10_i128.pow(38)));
    assert_eq!(integer("1e39"), Err(Misfit::TooLarge));
    assert_eq!(integer("1e999999999999999999"), Err(Misfit::TooLarge));
    assert_eq!(integer("1e-999999999999999999"), Err(Misfit::Fraction));
    assert_eq!(integer("1.5e1"), Ok(15));
    assert_eq!(integer("1.55e1"), Err(Misfit::Fraction));
    assert_eq!(integer("0e999"), Ok(0));
}

#[test]
fn scaling_is_exact_or_refused() {
    let scaled = |text: &str, precision, scale| Number::parse(text).expect("a number").scaled(precision, scale);
    assert_eq!(scaled("12.34", 4, 2), Ok(1_234));
    assert_eq!(scaled("12.3400", 4, 2), Ok(1_234));
    assert_eq!(scaled("-12.3", 4, 2), Ok(-1_230));
    assert_eq!(scaled("12.345", 9, 2), Err(Misfit::Fraction));
    assert_eq!(scaled("123.4", 4, 2), Err(Misfit::TooLarge));
    assert_eq!(scaled("0.01", 2, 2), Ok(1));
    assert_eq!(scaled("99999999999999999999999999999999999999", 38, 0), Ok(10_i128.pow(38) - 1));
    assert_eq!(scaled("100000000000000000000000000000000000000", 38, 0), Err(Misfit::TooLarge));
}

#[test]
fn flooring_goes_towards_the_past() {
    let floor = |text: &str, scale| Number::parse(text).expect("a number").floor_scaled(scale);
    assert_eq!(floor("1.9999999", 6), Some(1_999_999));
    assert_eq!(floor("-1.0000001", 6), Some(-1_000_001));
    assert_eq!(floor("-1.000000", 6), Some(-1_000_000));
    assert_eq!(floor("0.00000001", 6), Some(0));
    assert_eq!(floor("-0.00000001", 6), Some(-1));
    assert_eq!(floor("1e40", 0), None);
    assert_eq!(floor("1e-999999999", 6), Some(0));
    assert_eq!(floor("1234567890123456789012345678901234567890.5", 0), None);
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).expect("a short text")
}

/// The same value with its point moved and zeros added, worked out on the text alone.
fn respelled(text: &str, zeros: usize, pointed: bool) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}{}", "0".repeat(zeros));
    let digits = digits.trim_start_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    let exponent = exponent.parse::<i64>().expect("an exponent") - length(fraction) - length(&"0".repeat(zeros));
    if pointed {
        format!("{sign}{}.{}0E{}", &digits[..1], &digits[1..], exponent + length(digits) - 1)
    } else {
        format!("{sign}{digits}e{exponent:+}")
    }
}

proptest! {
    #[test]
    fn respelling_changes_nothing(text in number_text(), zeros in 0_usize..5, pointed: bool) {
        let other = respelled(&text, zeros, pointed);
        prop_assert!(same(&text, &other), "{text} {other}");
        prop_assert_eq!(canonical(&text), canonical(&other));
        prop_assert_eq!(canonical(&canonical(&text)), canonical(&text));
    }

    #[test]
    fn whole_numbers_agree_with_the_standard_library(number: i128) {
        prop_assert_eq!(Number::parse(&number.to_string()).map(|number| number.integer()), Some(Ok(number)));
    }

    #[test]
    fn another_last_digit_is_another_number(digits in "[1-9][0-9]{0,40}", exponent in -50_i64..50) {
        let (rest, last) = digits.split_at(digits.len() - 1);
        let other = if last == "9" { "8" } else { "9" };
        let (left, right) = (format!("{digits}e{exponent}"), format!("{rest}{other}e{exponent}"));
        prop_assert!(!same(&left, &right));
        prop_assert_ne!(canonical(&left), canonical(&right));
    }
}
