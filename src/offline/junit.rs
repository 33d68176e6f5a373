//! What came of tests in the form that build servers read: JUnit's XML, as Jenkins, GitLab and GitHub's reporters take it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::BytesText;

use super::run::{Failure, TestReport};

type Xml = Writer<Vec<u8>>;

/// The document: one suite for each provider, one case for each test. `skipped` are the names of those that cannot be run, with their file
/// and why.
///
/// # Errors
/// It cannot be written, which memory always can.
pub fn junit(reports: &[TestReport], skipped: &[(String, String, String)]) -> io::Result<String> {
    let mut suites: BTreeMap<&str, Vec<Case<'_>>> = BTreeMap::new();
    let all = reports.iter().map(Case::of).chain(skipped.iter().map(|(id, file, why)| Case {
        id,
        file,
        took: Duration::ZERO,
        end: End::Skipped(why),
    }));
    for case in all {
        suites.entry(case.names().0).or_default().push(case);
    }
    let mut xml = Writer::new_with_indent(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_vec(), b' ', 2);
    let every: Vec<&Case<'_>> = suites.values().flatten().collect();
    let numbers = attributes(&every);
    let root =
        xml.create_element("testsuites").with_attributes(numbers.iter().map(|(name, text)| (*name, text.as_str())));
    root.write_inner_content(|xml| suites.iter().try_for_each(|(provider, cases)| suite(xml, provider, cases)))?;
    let mut text = String::from_utf8(xml.into_inner()).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

struct Case<'r> {
    id: &'r str,
    file: &'r str,
    took: Duration,
    end: End<'r>,
}

enum End<'r> {
    Passed,
    Skipped(&'r str),
    Failed(usize, &'r [Failure]),
}

impl<'r> Case<'r> {
    fn of(TestReport { id, file, description: _, took, failed }: &'r TestReport) -> Self {
        let end = failed.as_ref().map_or(End::Passed, |(run, failures)| End::Failed(*run, failures));
        Self { id, file, took: *took, end }
    }

    /// The provider and the test.
    fn names(&self) -> (&'r str, &'r str) {
        self.id.split_once('/').unwrap_or(("", self.id))
    }
}

/// How many there are, how many of them failed or were left out, and how long they took.
fn attributes(cases: &[&Case<'_>]) -> [(&'static str, String); 5] {
    let count = |is: fn(&End<'_>) -> bool| cases.iter().filter(|case| is(&case.end)).count().to_string();
    [
        ("tests", cases.len().to_string()),
        ("failures", count(|end| matches!(end, End::Failed(..)))),
        ("errors", "0".to_owned()),
        ("skipped", count(|end| matches!(end, End::Skipped(_)))),
        ("time", seconds(cases.iter().map(|case| case.took).sum())),
    ]
}

fn suite(xml: &mut Xml, provider: &str, cases: &[Case<'_>]) -> io::Result<()> {
    let numbers = attributes(&cases.iter().collect::<Vec<_>>());
    let element = xml.create_element("testsuite").with_attribute(("name", allowed(provider).as_str()));
    let element = element.with_attributes(numbers.iter().map(|(name, text)| (*name, text.as_str())));
    element.write_inner_content(|xml| cases.iter().try_for_each(|one| case(xml, one)))?;
    Ok(())
}

fn case(xml: &mut Xml, case: &Case<'_>) -> io::Result<()> {
    let (provider, name) = case.names();
    let element = xml.create_element("testcase").with_attributes([
        ("classname", allowed(provider).as_str()),
        ("name", allowed(name).as_str()),
        ("file", allowed(case.file).as_str()),
        ("time", seconds(case.took).as_str()),
    ]);
    match &case.end {
        End::Passed => element.write_empty()?,
        End::Skipped(why) => element.write_inner_content(|xml| {
            xml.create_element("skipped").with_attribute(("message", allowed(why).as_str())).write_empty()?;
            Ok(())
        })?,
        End::Failed(run, failures) => element.write_inner_content(|xml| {
            let first = failures.first().map(|failure| failure.what.as_str()).unwrap_or_default();
            let message = allowed(&format!("run {run}: {first}"));
            let failure = xml.create_element("failure").with_attribute(("message", message.as_str()));
            let failure = failure.with_attribute(("type", "failure"));
            failure.write_text_content(BytesText::new(&allowed(&text(*run, failures))))?;
            Ok(())
        })?,
    };
    Ok(())
}

/// What `headwater test` prints of it.
fn text(run: usize, failures: &[Failure]) -> String {
    let mut text = format!("run {run}\n");
    for Failure { what, lines } in failures {
        text += &format!("{what}\n");
        lines.iter().for_each(|line| text += &format!("  {} {}\n", line.sign.mark(), line.text));
    }
    text
}

fn seconds(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64())
}

/// A text with what XML 1.0 allows no document to have, escaped or not (2.2), as U+FFFD.
fn allowed(text: &str) -> String {
    let is_allowed =
        |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if is_allowed(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::super::diff::{Line, Sign};
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_not_in_it() {
        let report = |id: &str, failed| TestReport {
            id: id.to_owned(),
            file: format!("integrations/{id}.yaml"),
            description: None,
            took: Duration::from_millis(1_250),
            failed,
        };
        let line = Line::new(Sign::Missing, "a\u{0}b\u{1b}[31m <c> & \"d\" ]]> é\u{ffff}");
        let failed = Some((2, vec![Failure::new("<b> \u{b}\"other\"".to_owned(), vec![line])]));
        let skipped = ("b/later".to_owned(), "f.yaml".to_owned(), "not \"yet\" <so>".to_owned());
        let text = junit(&[report("a/one", None), report("b/two", failed)], &[skipped]).expect("XML");
        let mut seen = Vec::new();
        let mut reader = Reader::from_str(&text);
        let mut inside = String::new();
        loop {
            match reader.read_event().expect("well-formed") {
                Event::Eof => break,
                Event::Start(tag) | Event::Empty(tag) => {
                    let attributes = tag.attributes().map(|attribute| {
                        let attribute = attribute.expect("an attribute");
                        let value = attribute.unescape_value().expect("escaped").into_owned();
                        format!("{}={value}", String::from_utf8_lossy(attribute.key.as_ref()))
                    });
                    let attributes: Vec<String> = attributes.collect();
                    seen.push(format!("{} {}", String::from_utf8_lossy(tag.name().as_ref()), attributes.join(" ")));
                }
                Event::Text(text) => inside += &text.decode().expect("text"),
                Event::GeneralRef(name) => {
                    let name = format!("&{};", name.decode().expect("text"));
                    inside += &quick_xml::escape::unescape(&name).expect("known");
                }
                _ => {}
            }
        }
        assert_eq!(
            seen,
            [
                "testsuites tests=3 failures=1 errors=0 skipped=1 time=2.500",
                "testsuite name=a tests=1 failures=0 errors=0 skipped=0 time=1.250",
                "testcase classname=a name=one file=integrations/a/one.yaml time=1.250",
                "testsuite name=b tests=2 failures=1 errors=0 skipped=1 time=1.250",
                "testcase classname=b name=two file=integrations/b/two.yaml time=1.250",
                "failure message=run 2: <b> \u{fffd}\"other\" type=failure",
                "testcase classname=b name=later file=f.yaml time=0.000",
                "skipped message=not \"yet\" <so>",
            ]
        );
        assert!(inside.contains("  - a\u{fffd}b\u{fffd}[31m <c> & \"d\" ]]> é\u{fffd}\n"), "{inside}");
    }
}
