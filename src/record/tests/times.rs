use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;

use super::fixture::{column_type, json};
use crate::plan::{TimeFormat, Zone};
use crate::record::coerce::{Cell, Coercion};

const DAY: i64 = 86_400_000_000;

fn read(type_text: &str, format: &TimeFormat, value: &str) -> Result<i64, String> {
    match Coercion::new(&column_type(type_text), format).cell(&json(value)) {
        Ok(Cell::Timestamp(us) | Cell::Timestamptz(us) | Cell::Time(us)) => Ok(us),
        Ok(Cell::Date(days)) => Ok(days.into()),
        Ok(other) => panic!("{other:?}"),
        Err(reason) => Err(format!("{}: {}", reason.code, reason.text)),
    }
}

fn iso(type_text: &str, text: &str) -> Result<i64, String> {
    read(type_text, &TimeFormat::Rfc3339, &format!("\"{text}\""))
}

fn custom(type_text: &str, format: &str, text: &str) -> Result<i64, String> {
    read(type_text, &TimeFormat::Custom(format.into()), &format!("\"{text}\""))
}

fn refused(result: Result<i64, String>, code: &str, why: &str) {
    let text = result.expect_err(why);
    assert!(text.starts_with(code) && text.contains(why), "{text} / {why}");
}

#[test]
fn moments_are_rfc_3339_and_its_everyday_variants() {
    let noon = 1_709_208_000_000_000; // 2024-02-29T12:00:00Z
    for text in [
        "2024-02-29T12:00:00Z",
        "2024-02-29t12:00:00z",
        "2024-02-29 12:00:00Z",
        "2024-02-29T12:00Z",
        "2024-02-29T14:00:00+02:00",
        "2024-02-29T14:00:00+0200",
        "2024-02-29T14:00:00+02",
        "2024-02-29T07:30:00-04:30",
        "2024-02-29T12:00:00-00:00",
        "2024-03-01T00:00:00.000+12:00",
        "2024-02-29T12:00:00.0000000000000000000Z",
        "2024-02-29T12:00:00.0000009Z",
    ] {
        assert_eq!(iso("timestamptz", text), Ok(noon), "{text}");
    }
    assert_eq!(iso("timestamptz", "2024-02-29T12:00:00.5Z"), Ok(noon + 500_000));
    assert_eq!(iso("timestamptz", "2024-02-29T12:00:00.1234567Z"), Ok(noon + 123_456), "finer than micros is cut off");
    assert_eq!(iso("timestamptz", "1969-12-31T23:59:59.9999999Z"), Ok(-1));
    assert_eq!(iso("timestamptz", "2016-12-31T23:59:60Z"), iso("timestamptz", "2017-01-01T00:00:00Z"), "a leap second");
    assert_eq!(iso("timestamptz", "0000-01-01T00:00:00Z"), Ok(-62_167_219_200_000_000));
    assert_eq!(iso("timestamptz", "9999-12-31T23:59:59.999999Z"), Ok(253_402_300_799_999_999));
}

#[test]
fn what_is_no_moment_is_refused_with_a_hint() {
    refused(iso("timestamptz", "2024-02-29T12:00:00"), "type_mismatch", "use the type `timestamp`");
    refused(iso("timestamptz", "2024-02-29"), "type_mismatch", "use the type `date`");
    refused(iso("timestamptz", "12:00:00Z"), "type_mismatch", "use the type `time`");
    refused(iso("timestamptz", "0000-01-01T00:00:00+00:01"), "out_of_range", "year");
    refused(read("timestamptz", &TimeFormat::Rfc3339, "1709208000"), "type_mismatch", "`format: epoch_s`");
    refused(read("timestamptz", &TimeFormat::Rfc3339, "true"), "type_mismatch", "a boolean");
    refused(iso("timestamptz", ""), "type_mismatch", "empty text");
    for text in [
        "yesterday",
        "2023-02-29T12:00:00Z",
        "2024-13-01T12:00:00Z",
        "2024-02-29T24:00:00Z",
        "2024-02-29T12:60:00Z",
        "2024-02-29T12:00:61Z",
        "2024-02-29T12:00:00.Z",
        "2024-02-29T12:00:00,5Z",
        "2024-02-29T12:00:00+2",
        "2024-02-29T12:00:00+24:00",
        "2024-02-29T12:00:00+02:60",
        "2024-02-29T12:00:00ZZ",
        "2024-02-29_12:00:00Z",
        "2024-02-29T12Z",
        "24-02-29T12:00:00Z",
        "12024-02-29T12:00:00Z",
        "2024-2-29T12:00:00Z",
        " 2024-02-29T12:00:00Z",
        "2024-02-29T12:00:00Z ",
        "0000-00-00T00:00:00Z",
        "2024-02-29T",
        "2024-02-29T12:",
        "2024-02-29T12:0",
        "2024-02-29T12:00:",
        "2024-02-29T12:00:0",
        "٢٠٢٤-02-29T12:00:00Z",
        "2024-02-2é",
        "20240229T120000Z",
    ] {
        refused(iso("timestamptz", text), "type_mismatch", "it is not written like");
    }
}

#[test]
fn local_times_have_no_offset() {
    assert_eq!(iso("timestamp", "1970-01-02T00:00:01.5"), Ok(DAY + 1_500_000));
    assert_eq!(iso("timestamp", "1970-01-02 00:00"), Ok(DAY));
    refused(iso("timestamp", "2024-02-29T12:00:00Z"), "type_mismatch", "use the type `timestamptz`");
    refused(iso("timestamp", "2024-02-29"), "type_mismatch", "use the type `date`");
    refused(iso("timestamp", "2016-12-31T23:59:60"), "type_mismatch", "leap second");
}

#[test]
fn days_and_times_of_day() {
    assert_eq!(iso("date", "1970-01-02"), Ok(1));
    assert_eq!(iso("date", "1969-12-31"), Ok(-1));
    assert_eq!(iso("date", "1970-01-02T00:00:00"), Ok(1));
    assert_eq!(iso("date", "1970-01-02T00:00:00.000+02:00"), Ok(1), "the day as written");
    refused(iso("date", "1970-01-02T00:00:01Z"), "type_mismatch", "time of day");
    refused(iso("date", "1970-01-02T23:59:60Z"), "type_mismatch", "time of day");
    refused(iso("date", "00:00"), "type_mismatch", "no day");
    refused(iso("date", "02/01/1970"), "type_mismatch", "not written like");
    assert_eq!(iso("time", "23:59:59.999999"), Ok(DAY - 1));
    assert_eq!(iso("time", "00:01"), Ok(60_000_000));
    refused(iso("time", "24:00"), "type_mismatch", "not written like");
    refused(iso("time", "12:00:00Z"), "type_mismatch", "offset");
    refused(iso("time", "1970-01-01T12:00:00"), "type_mismatch", "has a day");
    refused(iso("time", "23:59:60"), "type_mismatch", "leap second");
}

#[test]
fn epoch_numbers_need_their_format() {
    let seconds = |value: &str| read("timestamptz", &TimeFormat::EpochS, value);
    assert_eq!(seconds("1709208000"), Ok(1_709_208_000_000_000));
    assert_eq!(seconds("\"1709208000\""), Ok(1_709_208_000_000_000));
    assert_eq!(seconds("1709208000.123456"), Ok(1_709_208_000_123_456), "exact, where a double is not");
    assert_eq!(seconds("\"1709208000.1234569\""), Ok(1_709_208_000_123_456));
    assert_eq!(seconds("-0.0000001"), Ok(-1));
    assert_eq!(seconds("1.709208e9"), Ok(1_709_208_000_000_000));
    assert_eq!(read("timestamptz", &TimeFormat::EpochMs, "1709208000123"), Ok(1_709_208_000_123_000));
    assert_eq!(read("timestamptz", &TimeFormat::EpochMs, "1709208000123.5"), Ok(1_709_208_000_123_500));
    assert_eq!(read("timestamptz", &TimeFormat::EpochUs, "1709208000123456"), Ok(1_709_208_000_123_456));
    assert_eq!(read("timestamp", &TimeFormat::EpochS, "1"), Ok(1_000_000));
    assert_eq!(read("date", &TimeFormat::EpochS, "172800"), Ok(2));
    assert_eq!(read("date", &TimeFormat::EpochMs, "-86400000"), Ok(-1));
    refused(read("date", &TimeFormat::EpochS, "172801"), "type_mismatch", "time of day");
    refused(seconds("1709208000123"), "out_of_range", "is the `format` of the column right?");
    refused(seconds("1e400"), "out_of_range", "year");
    refused(seconds("\"2024-02-29T12:00:00Z\""), "type_mismatch", "not a number");
    refused(read("time", &TimeFormat::EpochS, "1"), "type_mismatch", "epoch format");
}

#[test]
fn custom_formats_read_what_they_say() {
    assert_eq!(custom("timestamptz", "%Y-%m-%d %H:%M:%S %z", "2024-02-29 14:00:00 +0200"), Ok(1_709_208_000_000_000));
    assert_eq!(custom("timestamptz", "%Y-%m-%d %H:%M:%S", "2024-02-29 12:00:00"), Ok(1_709_208_000_000_000), "UTC");
    assert_eq!(custom("timestamptz", "%d.%m.%Y", "29.02.2024"), Ok(1_709_164_800_000_000), "midnight UTC");
    assert_eq!(custom("timestamptz", "%s", "1709208000"), Ok(1_709_208_000_000_000));
    assert_eq!(
        custom("timestamptz", "%a, %d %b %Y %H:%M:%S GMT", "Thu, 29 Feb 2024 12:00:00 GMT"),
        Ok(1_709_208_000_000_000)
    );
    assert_eq!(custom("timestamptz", "%Y-%m-%dT%H:%M:%S%.f", "2024-02-29T12:00:00.1234567"), Ok(1_709_208_000_123_456));
    assert_eq!(custom("timestamp", "%d/%m/%Y %H:%M", "02/01/1970 00:01"), Ok(DAY + 60_000_000));
    assert_eq!(custom("date", "%d/%m/%Y", "02/01/1970"), Ok(1));
    assert_eq!(read("date", &TimeFormat::Custom("%Y%m%d".into()), "19700102"), Ok(1), "digits may come as a number");
    assert_eq!(custom("time", "%I:%M %p", "11:30 PM"), Ok((23 * 60 + 30) * 60_000_000));
    refused(custom("timestamp", "%Y-%m-%d %H:%M:%S %z", "2024-02-29 14:00:00 +0200"), "type_mismatch", "`timestamptz`");
    refused(custom("date", "%d/%m/%Y", "31/02/2024"), "type_mismatch", "not written like the format `%d/%m/%Y`");
    refused(custom("timestamptz", "%a, %d %b %Y", "Fri, 29 Feb 2024"), "type_mismatch", "not written like");
    refused(custom("timestamptz", "%H:%M", "12:00"), "type_mismatch", "no day");
    refused(custom("date", "%H:%M", "12:00"), "type_mismatch", "no day");
    refused(custom("time", "%d/%m/%Y", "02/01/1970"), "type_mismatch", "has a day");
    refused(custom("date", "%Y", "1970"), "type_mismatch", "no day");
    refused(custom("date", "%Q", "1970"), "type_mismatch", "not written like");
    refused(custom("date", "%Y-%m-%d", "+12024-02-29"), "out_of_range", "year");
}

fn in_zone(type_text: &str, format: &str, zone: &str, value: &str) -> Result<String, String> {
    let format = if format.is_empty() { TimeFormat::Rfc3339 } else { TimeFormat::Custom(format.to_owned()) };
    let format = if value.starts_with('"') { format } else { TimeFormat::EpochS };
    match Coercion::new(&column_type(type_text), &format).in_zone(Zone::parse(zone)).cell(&json(value)) {
        Ok(Cell::Timestamptz(us)) => Ok(DateTime::from_timestamp_micros(us).expect("in range").to_rfc3339()),
        Ok(Cell::Date(days)) => Ok(NaiveDate::from_epoch_days(days).expect("in range").to_string()),
        Ok(other) => panic!("{other:?}"),
        Err(reason) => Err(format!("{}: {}", reason.code, reason.text)),
    }
}

#[test]
fn a_time_without_an_offset_is_of_the_zone() {
    let berlin = |value: &str| in_zone("timestamptz", "", "Europe/Berlin", &format!("\"{value}\""));
    let is = |text: &str| Ok(format!("{text}+00:00"));
    assert_eq!(berlin("2026-07-01T12:00:00"), is("2026-07-01T10:00:00"));
    assert_eq!(berlin("2026-07-01 12:00:00.5"), is("2026-07-01T10:00:00.500"));
    assert_eq!(berlin("2026-07-01T12:00:00Z"), is("2026-07-01T12:00:00"), "an offset is kept");
    assert_eq!(berlin("2026-10-25 02:30"), is("2026-10-25T00:30:00"), "the first of two");
    assert_eq!(berlin("2026-03-29 02:30"), is("2026-03-29T00:30:00"), "skipped: before the gap");
    assert_eq!(berlin("2016-12-31 23:59:60"), is("2016-12-31T23:00:00"), "a leap second counts into the next minute");
    assert!(berlin("2026-07-01").is_err_and(|error| error.contains("no time of day")));
    let custom = |value: &str| in_zone("timestamptz", "%d.%m.%Y", "America/New_York", value);
    assert_eq!(custom("\"01.07.2026\""), is("2026-07-01T04:00:00"));
    assert_eq!(in_zone("timestamptz", "%s", "America/New_York", "\"0\""), is("1970-01-01T00:00:00"));
    let offset = in_zone("timestamptz", "%F %R %z", "America/New_York", "\"2026-07-01 12:00 +0200\"");
    assert_eq!(offset, is("2026-07-01T10:00:00"));
    assert_eq!(in_zone("timestamptz", "", "", "1709208000"), is("2024-02-29T12:00:00"));
    assert!(in_zone("timestamptz", "", "", "\"2026-07-01T12:00\"").is_err(), "nothing is said of a zone");
    let edge = in_zone("timestamptz", "", "America/New_York", "\"9999-12-31T23:00:00\"");
    assert!(edge.is_err_and(|error| error.starts_with("out_of_range")));
}

#[test]
fn an_epoch_number_is_a_day_where_it_is_the_beginning_of_one_in_the_zone() {
    let day = |zone: &str, value: &str| in_zone("date", "", zone, value);
    assert_eq!(day("Europe/Berlin", "1774738800"), Ok("2026-03-29".to_owned()));
    assert!(day("UTC", "1774738800").is_err_and(|error| error.contains("time of day")));
    assert_eq!(day("America/Sao_Paulo", "1541300400"), Ok("2018-11-04".to_owned()), "it begins at 01:00");
    assert_eq!(day("Europe/Berlin", "\"2026-03-29\""), Ok("2026-03-29".to_owned()));
}

proptest! {
    #[test]
    fn every_microsecond_reads_back(us in -62_167_219_200_000_000_i64..=253_402_300_799_999_999, offset in -1_439_i32..=1_439) {
        let at = DateTime::from_timestamp_micros(us).expect("in range");
        prop_assert_eq!(iso("timestamptz", &at.to_rfc3339()), Ok(us));
        prop_assert_eq!(iso("timestamp", &at.naive_utc().format("%Y-%m-%dT%H:%M:%S%.6f").to_string()), Ok(us));
        prop_assert_eq!(read("timestamptz", &TimeFormat::EpochUs, &us.to_string()), Ok(us));
        prop_assert_eq!(read("timestamptz", &TimeFormat::EpochS, &format!("{us}e-6")), Ok(us));
        let zone = chrono::FixedOffset::east_opt(offset * 60).expect("less than a day");
        let local = at.with_timezone(&zone);
        if (0..=9999).contains(&chrono::Datelike::year(&local)) {
            prop_assert_eq!(iso("timestamptz", &local.to_rfc3339()), Ok(us));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,30}", close in "[0-9TZtz:.+ -]{0,40}") {
        for text in [text, close] {
            let value = crate::record::Json::from(text);
            for name in ["date", "time", "timestamp", "timestamptz"] {
                let _ = Coercion::new(&column_type(name), &TimeFormat::Rfc3339).cell(&value).map_err(|reason| reason.text);
            }
        }
    }
}
