//! What the query of a request asks for.

use axum::extract::Query;
use axum::http::Uri;
use serde::Deserialize;
use wicketgate_envelope::hop::Ack;

use crate::http::shortened::shortened;

/// The options of a request, which hold for all events in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// How far each event has to get before it is acknowledged.
    pub(super) ack: Ack,
    /// Whether data in binary mode has to be JSON where `content-type` says so.
    pub(super) checks_data: bool,
}

#[derive(Deserialize)]
struct Parameters {
    ack: Option<String>,
    data: Option<String>,
}

impl Options {
    /// Reads the query of a target. Parameters of other names are somebody else's, and are let be.
    ///
    /// # Errors
    /// The parameter that will not do, and what was wanted.
    pub(super) fn from_query(target: &Uri) -> Result<Self, String> {
        let Query(parameters) =
            Query::<Parameters>::try_from_uri(target).map_err(|error| error.body_text())?;
        let ack = match parameters.ack {
            None => Ack::default(),
            Some(text) => {
                text.parse().map_err(|error| format!("ack: {error}, got {:?}", shortened(&text)))?
            }
        };
        let checks_data = match parameters.data.as_deref() {
            None | Some("checked") => true,
            Some("unchecked") => false,
            Some(text) => {
                return Err(format!("data: wanted checked or unchecked, got {:?}", shortened(text)));
            }
        };
        Ok(Self { ack, checks_data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degree_is_one_of_four_and_said_once() {
        let ack = |query: &str| {
            Options::from_query(&format!("/e?{query}").parse().unwrap()).map(|options| options.ack)
        };
        assert_eq!(
            Options::from_query(&Uri::from_static("/e")),
            Ok(Options { ack: Ack::All, checks_data: true })
        );
        let checks = |query: &str| {
            Options::from_query(&format!("/e?{query}").parse().unwrap()).map(|options| options.checks_data)
        };
        assert_eq!((checks("data=checked"), checks("ack=all&data=unchecked")), (Ok(true), Ok(false)));
        assert_eq!(checks("data=any"), Err("data: wanted checked or unchecked, got \"any\"".to_owned()));
        for (query, wanted) in [
            ("", Ack::All),
            ("x=1", Ack::All),
            ("ack=all", Ack::All),
            ("x=1&ack=leader", Ack::Leader),
            ("ack=no%6ee", Ack::None),
            ("ack=spooled&x", Ack::Spooled),
        ] {
            assert_eq!(ack(query), Ok(wanted), "{query}");
        }
        for (query, wanted) in [
            ("ack=", "ack: wanted one of all, leader, none, spooled, got \"\""),
            ("ack=ALL", "ack: wanted one of all, leader, none, spooled, got \"ALL\""),
            ("ack=1", "ack: wanted one of all, leader, none, spooled, got \"1\""),
            ("ack=none&ack=all", "Failed to deserialize query string: duplicate field `ack`"),
        ] {
            assert_eq!(ack(query), Err(wanted.to_owned()), "{query}");
        }
        let long = ack(&format!("ack={}", "a".repeat(3_000))).unwrap_err();
        assert!(long.ends_with(&format!("got \"{}…\"", "a".repeat(80))), "{long}");
    }
}
