//! What the standard environment variables say. Those of the exporter itself (headers, attributes, sizes of batches) are read by the SDK.

use std::time::Duration;

use url::Url;

use crate::plan::limits;

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// how long the collector may take
    pub timeout: Duration,
    /// whether it is on this machine
    pub is_local: bool,
    /// whether the environment names the service
    pub is_named: bool,
}

/// A variable that says what headwater does not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable `{variable}` is `{value}`, which headwater does not do")]
pub struct Unsupported {
    /// which
    pub variable: &'static str,
    /// what it is
    pub value: String,
}

impl Unsupported {
    /// What to do.
    pub fn hint(&self) -> String {
        match self.variable {
            "OTEL_TRACES_EXPORTER" => "set it to `otlp` or `none`, or take it away".to_owned(),
            variable if variable.ends_with("_PROTOCOL") => {
                "set it to `http/protobuf`, for which collectors listen on port 4318, or take it away".to_owned()
            }
            _ => "write it like `http://localhost:4318`, or take it away".to_owned(),
        }
    }
}

impl Settings {
    /// Reads the environment; none where nothing is to be sent.
    ///
    /// # Errors
    /// [`Unsupported`].
    #[expect(clippy::disallowed_methods, reason = "the one place that reads these variables")]
    pub fn of_environment() -> Result<Option<Self>, Unsupported> {
        Self::of(|name| std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Unsupported> {
        let either = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name)?)));
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        match variable("OTEL_TRACES_EXPORTER").as_deref() {
            Some("none") => return Ok(None),
            None | Some("otlp") => {}
            Some(other) => {
                return Err(Unsupported { variable: "OTEL_TRACES_EXPORTER", value: other.to_owned() });
            }
        }
        let endpoint = either(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
        let Some((name, endpoint)) = endpoint else { return Ok(None) };
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        // what it is may hold a secret
        let wrong = || Unsupported { variable: name, value: "no HTTP URL".to_owned() };
        let url = Url::parse(&endpoint).ok().filter(is_http).ok_or_else(wrong)?;
        if let Some((variable, value)) = either(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"])
            && value != "http/protobuf"
        {
            return Err(Unsupported { variable, value });
        }
        if let Some((variable, value)) =
            either(["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"])
            && value != "none"
        {
            return Err(Unsupported { variable, value });
        }
        let timeout = either(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]);
        let timeout = timeout.and_then(|(_, millis)| millis.parse().ok()).map(Duration::from_millis);
        let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let is_named = variable("OTEL_SERVICE_NAME").is_some()
            || attributes.split(',').any(|pair| pair.trim_start().starts_with("service.name="));
        let is_local = crate::remote::is_loopback(&url);
        Ok(Some(Self { timeout: timeout.unwrap_or(limits::COLLECTOR_WAIT), is_local, is_named }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Option<Settings>, Unsupported> {
        Settings::of(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

    #[test]
    fn nothing_is_sent_unless_a_collector_is_named() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_EXPORTER", "otlp")]), Ok(None));
        assert_eq!(of(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(of(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let timeout = limits::COLLECTOR_WAIT;
        assert_eq!(of(&[ENDPOINT]), Ok(Some(Settings { timeout, is_local: true, is_named: false })));
    }

    #[test]
    fn what_is_for_traces_alone_comes_first() {
        let settings = of(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector.example.com/v1/traces"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=mine"),
        ]);
        let timeout = Duration::from_millis(250);
        assert_eq!(settings, Ok(Some(Settings { timeout, is_local: false, is_named: true })));
    }

    #[test]
    fn what_is_not_done_is_told() {
        for (name, value, part) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "4318"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "`none`"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "localhost:4318", "http://localhost:4318"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "take it away"),
        ] {
            let error = of(&[ENDPOINT, (name, value)]).expect_err(name);
            assert!(error.to_string().contains(name) && error.hint().contains(part), "{error}: {}", error.hint());
        }
    }
}
