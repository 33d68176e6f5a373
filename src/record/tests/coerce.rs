use super::fixture::{column_type, json};
use crate::plan::TimeFormat;
use crate::plan::limits::QUOTED_CHARS_MAX;
use crate::record::Json;
use crate::record::coerce::{Cell, Coercion, Reason};

fn coercion(type_text: &str) -> Coercion {
    Coercion::new(&column_type(type_text), &TimeFormat::Rfc3339)
}

#[track_caller]
fn fits(type_text: &str, value: &str, expected: &Cell<'_>) {
    assert_eq!(coercion(type_text).cell(&json(value)).as_ref(), Ok(expected), "{value} as {type_text}");
}

#[track_caller]
fn refused(type_text: &str, value: &str, code: &str, why: &str) {
    let reason = coercion(type_text).cell(&json(value)).expect_err(value);
    assert_eq!(reason.code, code, "{value} as {type_text}: {}", reason.text);
    let scalar = column_type(type_text.trim_end_matches("[]")).to_string();
    assert!(reason.text.contains(why) && reason.text.contains(&scalar), "{value} as {type_text}: {}", reason.text);
}

const TYPES: [&str; 15] = [
    "boolean",
    "integer",
    "bigint",
    "hugeint",
    "double",
    "decimal(18,2)",
    "varchar",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "uuid",
    "json",
    "blob",
    "varchar[]",
];

#[test]
fn null_is_null_in_every_type() {
    for name in TYPES {
        fits(name, "null", &Cell::Null);
        assert_eq!(coercion(name).gather(&[]), Ok(Cell::Null));
    }
}

#[test]
fn lists_and_objects_fit_only_json() {
    for name in TYPES {
        for value in ["{\"a\":1}", "[[1]]"] {
            let result = coercion(name).cell(&json(value)).map(|_| ());
            assert_eq!(result.is_ok(), name == "json", "{value} as {name}");
        }
    }
}

#[test]
fn empty_text_is_a_value_only_where_it_can_be() {
    for name in TYPES {
        let value = Json::from("");
        match coercion(name).cell(&value) {
            Ok(cell) => assert!(
                matches!(
                    (name, cell),
                    ("varchar", Cell::Text(text)) if text.is_empty()
                ) || matches!(name, "json" | "blob"),
                "{name}"
            ),
            Err(Reason { code, text }) => {
                assert_eq!(code, "type_mismatch");
                assert!(text.contains("empty text") || name == "varchar[]", "{name}: {text}");
            }
        }
    }
    fits("blob", "\"\"", &Cell::Blob(Vec::new()));
}

#[test]
fn text_is_taken_as_it_came() {
    fits("varchar", "\" a\\u0000b\\n\"", &Cell::Text(" a\0b\n".into()));
    fits("varchar", "1.50", &Cell::Text("1.50".into()));
    fits("varchar", "12345678901234567890123", &Cell::Text("12345678901234567890123".into()));
    fits("varchar", "true", &Cell::Text("true".into()));
    refused("varchar", "[1]", "type_mismatch", "it is a list; use `json`");
    refused("varchar", "{}", "type_mismatch", "it is an object; use `json`");
}

#[test]
fn whole_numbers_in_any_spelling() {
    for value in ["123", "123.0", "1.23e2", "12300e-2", "\"123\"", "\"123.00\""] {
        for name in ["integer", "bigint", "hugeint"] {
            fits(name, value, &Cell::Integer(123));
        }
    }
    fits("integer", "-0", &Cell::Integer(0));
    fits("integer", "2147483647", &Cell::Integer(2_147_483_647));
    fits("integer", "-2147483648", &Cell::Integer(-2_147_483_648));
    refused("integer", "2147483648", "out_of_range", "-2147483648 to 2147483647");
    refused("integer", "-2147483649", "out_of_range", "not within");
    fits("bigint", "9223372036854775807", &Cell::Integer(i64::MAX.into()));
    fits("bigint", "\"-9223372036854775808\"", &Cell::Integer(i64::MIN.into()));
    refused("bigint", "9223372036854775808", "out_of_range", "not within");
    refused("bigint", "1e19", "out_of_range", "not within");
    refused("bigint", "1e999999999999999999999", "out_of_range", "exponent");
    fits("hugeint", "170141183460469231731687303715884105727", &Cell::Integer(i128::MAX));
    refused("hugeint", "170141183460469231731687303715884105728", "out_of_range", "not within");
    refused("bigint", "1.5", "type_mismatch", "not a whole number");
    refused("bigint", "1e-1", "type_mismatch", "not a whole number");
    for value in
        ["\" 123\"", "\"123 \"", "\"+123\"", "\"0123\"", "\"1,234\"", "\"0x10\"", "\"abc\"", "\"NaN\"", "\"\\u0661\""]
    {
        refused("bigint", value, "type_mismatch", "not a number");
    }
    refused("bigint", "true", "type_mismatch", "it is a boolean");
}

#[test]
fn doubles_are_finite() {
    fits("double", "1", &Cell::Double(1.0));
    fits("double", "\"-1.5e3\"", &Cell::Double(-1_500.0));
    fits("double", "0.1", &Cell::Double(0.1));
    fits("double", "1e-400", &Cell::Double(0.0));
    let Ok(Cell::Double(zero)) = coercion("double").cell(&json("-0.0")) else { panic!("a double") };
    assert!(zero.is_sign_positive(), "-0 is 0");
    refused("double", "1e999", "out_of_range", "64 bits");
    refused("double", "\"-1e999\"", "out_of_range", "64 bits");
    for value in ["\"NaN\"", "\"Infinity\"", "\"inf\"", "\"1.5x\"", "\".5\""] {
        refused("double", value, "type_mismatch", "not a number");
    }
    refused("double", "false", "type_mismatch", "it is a boolean");
}

#[test]
fn decimals_are_exact_or_refused() {
    fits("decimal(5,2)", "123.45", &Cell::Decimal(12_345));
    fits("decimal(5,2)", "\"123.4500\"", &Cell::Decimal(12_345));
    fits("decimal(5,2)", "-1.2e1", &Cell::Decimal(-1_200));
    fits("decimal(38,0)", "99999999999999999999999999999999999999", &Cell::Decimal(10_i128.pow(38) - 1));
    fits("decimal(38,38)", "0.00000000000000000000000000000000000001", &Cell::Decimal(1));
    refused("decimal(5,2)", "123.456", "type_mismatch", "non-zero digits beyond 2 places");
    refused("decimal(5,2)", "1000", "out_of_range", "more than 3 digits before the point");
    refused("decimal(5,2)", "\"12,50\"", "type_mismatch", "not a number");
}

#[test]
fn booleans() {
    for value in ["true", "\"true\"", "1", "1.0", "10e-1"] {
        fits("boolean", value, &Cell::Boolean(true));
    }
    for value in ["false", "\"false\"", "0", "-0.0"] {
        fits("boolean", value, &Cell::Boolean(false));
    }
    for value in ["2", "-1", "0.5", "\"yes\"", "\"True\"", "\"1\""] {
        refused("boolean", value, "type_mismatch", "none of true, false, 0 and 1");
    }
}

#[test]
fn uuids_in_three_spellings() {
    let number = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128;
    for text in [
        "01234567-89ab-cdef-0123-456789abcdef",
        "01234567-89AB-CDEF-0123-456789ABCDEF",
        "0123456789abcdef0123456789abcdef",
        "{01234567-89ab-cdef-0123-456789abcdef}",
        "{0123456789abcdef0123456789abcdef}",
    ] {
        fits("uuid", &format!("\"{text}\""), &Cell::Uuid(number));
    }
    for text in [
        "01234567-89ab-cdef-0123-456789abcde",
        "01234567-89ab-cdef-0123-456789abcdef0",
        "0123456789ab-cdef-0123-456789abcdef-",
        "{01234567-89ab-cdef-0123-456789abcdef",
        "0123456789abcdef0123456789abcdeg",
        "0123456789abcdef0123456789abcd\u{e9}",
        "urn:uuid:01234567-89ab-cdef-0123-456789abcdef",
        "01234567+89ab+cdef+0123+456789abcdef",
        "-",
    ] {
        refused("uuid", &format!("\"{text}\""), "type_mismatch", "not a UUID");
    }
    refused("uuid", "1", "type_mismatch", "it is a number");
}

#[test]
fn blobs_are_base64() {
    let bytes = vec![0xfb, 0xef, 0xff, 0x00];
    for text in ["++//AA==", "++//AA", "--__AA==", "--__AA", "++//\\r\\nAA==\\n"] {
        fits("blob", &format!("\"{text}\""), &Cell::Blob(bytes.clone()));
    }
    for text in ["+-//AA==", "++//AA=", "++//A", "++ //AA==", "++//AB==", "é"] {
        let reason = coercion("blob").cell(&json(&format!("\"{text}\""))).map(|_| ()).err();
        // one `=` too few is padding that was left out
        assert_eq!(reason.is_some(), text != "++//AA=", "{text}");
    }
    refused("blob", "1", "type_mismatch", "it is a number");
}

#[test]
fn lists_take_each_item() {
    fits(
        "bigint[]",
        "[1,\"2\",null,3.0]",
        &Cell::List(vec![Cell::Integer(1), Cell::Integer(2), Cell::Null, Cell::Integer(3)]),
    );
    fits("varchar[]", "[]", &Cell::List(vec![]));
    refused("bigint[]", "[1,2,\"x\"]", "type_mismatch", "item 3: `\"x\"` does not fit `BIGINT`");
    refused("integer[]", "[99999999999]", "out_of_range", "item 1");
    refused("bigint[]", "7", "type_mismatch", "it is a number, not a list");
    refused("varchar[]", "\"a,b\"", "type_mismatch", "it is text, not a list");
}

#[test]
fn a_path_to_many_values_fills_a_list_and_nothing_else() {
    let values = [json("1"), json("\"2\""), json("null")];
    let values: Vec<&Json<'_>> = values.iter().collect();
    let list = Cell::List(vec![Cell::Integer(1), Cell::Integer(2), Cell::Null]);
    assert_eq!(coercion("bigint[]").gather(&values), Ok(list));
    assert_eq!(coercion("bigint[]").gather(&values[..1]), Ok(Cell::List(vec![Cell::Integer(1)])));
    assert_eq!(coercion("bigint").gather(&values[..1]), Ok(Cell::Integer(1)));
    let reason = coercion("bigint").gather(&values).expect_err("three values");
    assert_eq!(reason.code, "type_mismatch");
    assert!(reason.text.contains("leads to 3 values") && reason.text.contains("`BIGINT[]`"), "{}", reason.text);
}

#[test]
fn a_reason_stays_short_on_one_line() {
    let long = format!("\"{}\\n\\u001b[31m\\u202e\"", "ä\\n".repeat(1_000_000));
    for value in [long.as_str(), "[\"\\u0000\",1,2,3]", "{\"a\":{\"b\":{\"c\":\"\\r\\n\"}}}"] {
        let value = json(value);
        let Reason { text, .. } = coercion("bigint").cell(&value).expect_err("no number");
        assert!(text.chars().count() < QUOTED_CHARS_MAX * 2 + 100, "{text}");
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text}");
    }
}
