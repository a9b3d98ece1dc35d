//! Which host a request is for, and which hosts a route takes.

use std::cmp::Reverse;
use std::fmt;

/// Why the host of a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// More than one `Host` field.
    Repeated,
    /// `:authority` and `Host` name different hosts.
    Contradiction,
    /// Not a name or an address with at most a port.
    Illegal,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repeated => "wanted at most once, got it repeated",
            Self::Contradiction => "wanted the one of :authority, got another",
            Self::Illegal => "wanted a name or an address, with a port or without",
        })
    }
}

/// The name or address in the value of `Host` or `:authority`: without its port and without the dot at the end of a
/// fully qualified name, in whatever case it came. `None` where the value is empty, as it is in requests for no
/// host in particular (RFC 9112, section 3.2).
///
/// # Errors
/// [`HostError::Illegal`] for user information, percent-encoding, empty labels, and bytes that names don't have:
/// what one resolver reads this way another reads that way.
pub fn parse(value: &[u8]) -> Result<Option<&str>, HostError> {
    let value = std::str::from_utf8(value).map_err(|_| HostError::Illegal)?;
    if value.is_empty() {
        return Ok(None);
    }
    let (host, port) = match value.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(HostError::Illegal);
            }
            (value.get(..address.len() + 2).unwrap_or_default(), port)
        }
        None => {
            let (name, port) = value.split_at(value.find(':').unwrap_or(value.len()));
            let name = name.strip_suffix('.').unwrap_or(name);
            if !name.split('.').all(is_label) {
                return Err(HostError::Illegal);
            }
            (name, port)
        }
    };
    match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(host)),
        None if port.is_empty() => Ok(Some(host)),
        _ => Err(HostError::Illegal),
    }
}

/// Underscores are not in host names, but are in names of containers and services.
fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Hosts that a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This one, in lower case.
    Exact(String),
    /// Every name that ends with this, and has at least one label before it. In lower case, with its first dot.
    Suffix(String),
    /// All, and requests that name none.
    Any,
}

impl HostPattern {
    /// Reads `api.example.com`, or `*.example.com` for all names below `example.com` at any depth.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        match parse(name.as_bytes()) {
            Ok(Some(host)) if host == name.strip_suffix('.').unwrap_or(name) => {
                let host = host.to_ascii_lowercase();
                match text.len() == name.len() {
                    true => Ok(Self::Exact(host)),
                    false if host.starts_with('[') => Err("a wildcard only before a name".to_owned()),
                    false => Ok(Self::Suffix(format!(".{host}"))),
                }
            }
            _ => Err("a host such as api.example.com or *.example.com, without a port".to_owned()),
        }
    }

    /// Whether a request for `host`, as [`parse`] gives it, is for one of these.
    pub fn matches(&self, host: Option<&str>) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (_, None) => false,
            (Self::Exact(name), Some(host)) => name.eq_ignore_ascii_case(host),
            (Self::Suffix(suffix), Some(host)) => host
                .len()
                .checked_sub(suffix.len())
                .filter(|&before| before > 0)
                .and_then(|before| host.get(before..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix)),
        }
    }

    /// Sorts the more specific first. Of two that match one host, one comes first.
    pub(crate) fn specificity(&self) -> (u8, Reverse<usize>) {
        match self {
            Self::Exact(_) => (0, Reverse(0)),
            Self::Suffix(suffix) => (1, Reverse(suffix.len())),
            Self::Any => (2, Reverse(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn port_and_last_dot_are_left_out() {
        for (value, wanted) in [
            ("", None),
            ("api.example.com", Some("api.example.com")),
            ("API.example.com.:443", Some("API.example.com")),
            ("localhost:", Some("localhost")),
            ("my_service:8080", Some("my_service")),
            ("127.0.0.1:10000", Some("127.0.0.1")),
            ("[::1]:10000", Some("[::1]")),
            ("[::1]", Some("[::1]")),
        ] {
            assert_eq!(parse(value.as_bytes()), Ok(wanted), "{value}");
        }
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        for value in [
            ".", "..", ".a", "a..b", "a..", ":80", "a:b", "a:80:80", "a:80 ", " a", "a b", "a,b", "a/b",
            "u@a", "a%2eb", "grün", "a\0", "[::1", "[::1]x", "[::1]:x", "[a]", "[]", "*", "*.a", "a\\b",
            "a?b", "a#b",
        ] {
            assert_eq!(parse(value.as_bytes()), Err(HostError::Illegal), "{value}");
        }
        assert_eq!(parse(b"\xff"), Err(HostError::Illegal));
    }

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, yes, no) in [
            (
                "Api.Example.com.",
                &["api.example.com", "API.EXAMPLE.COM"][..],
                &["example.com", "x.api.example.com"][..],
            ),
            (
                "*.example.com",
                &["a.example.com", "A.b.Example.Com"],
                &["example.com", "aexample.com", "a.example.org"],
            ),
            ("[::1]", &["[::1]"], &["[::2]"]),
        ] {
            let parsed = HostPattern::parse(pattern).unwrap();
            yes.iter().for_each(|host| assert!(parsed.matches(Some(host)), "{pattern} {host}"));
            no.iter().for_each(|host| assert!(!parsed.matches(Some(host)), "{pattern} {host}"));
            assert!(!parsed.matches(None), "{pattern}");
        }
        assert!(HostPattern::Any.matches(None) && HostPattern::Any.matches(Some("a")));
    }

    #[test]
    fn patterns_that_cannot_be_are_refused() {
        for pattern in [
            "", "*", "*.", "*.*.a", "a.*", "a*.b", "a:80", "*.a:80", "a/b", "grün.de", "*.[::1]", "a..b", ".",
        ] {
            assert!(HostPattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[cfg(not(target_family = "wasm"))]
    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            /// A wildcard is a way past a rule if it takes a host that is not below it.
            #[test]
            fn a_wildcard_takes_what_is_below_it_and_nothing_else(
                host in "[ab]{0,2}(\\.[abAB]{1,2}){0,3}", below in "[ab]{1,2}(\\.[ab]{1,2}){0,2}"
            ) {
                if let Ok(Some(host)) = parse(host.as_bytes()) {
                    let pattern = HostPattern::parse(&format!("*.{below}")).unwrap();
                    let labels: Vec<String> = host.split('.').map(str::to_lowercase).collect();
                    let wanted: Vec<&str> = below.split('.').collect();
                    let is_below = labels.len() > wanted.len() && labels[labels.len() - wanted.len()..] == wanted[..];
                    prop_assert_eq!(pattern.matches(Some(host)), is_below);
                }
            }

            #[test]
            fn any_bytes_are_read_or_refused(value in proptest::collection::vec(any::<u8>(), 0..24)) {
                if let Ok(Some(host)) = parse(&value) {
                    prop_assert!(!host.is_empty() && value.starts_with(host.as_bytes()));
                }
            }
        }
    }
}
