//! Reading the values of settings that have a form of their own.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;
use tracing_subscriber::EnvFilter;

/// What is logged.
pub(crate) fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| {
        format!("wanted a level, or directives such as warn,kafka_bridge=debug, got {text:?}: {error}")
    })
}

/// A whole number in this range.
pub(crate) fn within<N>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: Clone + Display + FromStr + PartialOrd + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            format!("wanted a whole number from {} to {}, got {text:?}", range.start(), range.end())
        })
    }
}

pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration: Duration = humantime::parse_duration(text)
        .map_err(|_| format!("wanted a number and a unit, such as 5s or 750ms, got {text:?}"))?;
    if duration.is_zero() { Err(format!("wanted more than zero, got {text:?}")) } else { Ok(duration) }
}

pub(crate) fn delivery_timeout(text: &str) -> Result<Duration, String> {
    const ALLOWED: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
    let duration = positive_duration(text)?;
    if ALLOWED.contains(&duration) { Ok(duration) } else { Err(format!("wanted 100ms to 5m, got {text:?}")) }
}

pub(crate) fn bootstrap_servers(text: &str) -> Result<String, String> {
    for server in text.split(',') {
        let server = server.trim();
        let port =
            server.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return Err(format!("wanted HOST:PORT, or several separated by commas; got {server:?}"));
        }
    }
    Ok(text.to_owned())
}

/// A host and a port, in `HOST:PORT`; an IPv6 address stands in brackets.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bare.or_else(|| (!host.contains(':')).then_some(host)).filter(|host| !host.is_empty())?;
    port.parse().ok().filter(|port| *port != 0).map(|port| (host, port))
}

/// One address.
pub(crate) fn address(text: &str) -> Result<String, String> {
    match host_and_port(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!("wanted HOST:PORT, got {text:?}")),
    }
}

/// Permission bits as chmod(1) takes them, in octal digits.
pub(crate) fn permission_bits(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|bits| (1..=0o777).contains(bits) && text.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| format!("wanted octal permission bits such as 660, got {text:?}"))
}

/// The URL of a collector, without the path of traces and without a slash at its end. What is wrong with it is told
/// without the text, which may have a password.
pub(crate) fn otlp_endpoint(text: &str) -> Result<String, String> {
    const WANTED: &str = "wanted http://HOST[:PORT][/PATH] or https://…, such as http://localhost:4318";
    let url: Uri = text.parse().map_err(|_| WANTED.to_owned())?;
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Err(WANTED.to_owned());
    };
    if authority.as_str().contains('@') {
        return Err(format!(
            "{WANTED}, without a user; OTEL_EXPORTER_OTLP_HEADERS has what proves who sends"
        ));
    }
    if !matches!(scheme, "http" | "https") || url.query().is_some() || authority.host().is_empty() {
        return Err(WANTED.to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}
