//! What becomes of one part of a request, whichever way its rule spells it.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::parameter::Raw;
use super::{Redaction, Treatment};
use crate::json_pointer::Pointer;

impl Redaction {
    /// What becomes of a header.
    pub(crate) fn of_header(&self, name: &str) -> Option<Treatment> {
        let rule = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        rule.map(|(_, action)| action.treatment())
    }

    /// What becomes of a query parameter.
    pub(crate) fn of_query_parameter(&self, name: &str) -> Option<Treatment> {
        let spelled = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
        let raw = Raw::new(spelled.as_bytes());
        let rules = self.query.iter().filter(|(parameter, _)| raw.is(parameter));
        rules.map(|(_, action)| action.treatment()).min()
    }

    /// What becomes of what a pointer names in the body. Of what is inside of something that is redacted, nothing is left.
    pub(crate) fn of_body(&self, pointer: &Pointer) -> Option<Treatment> {
        let covering = self.body.iter().filter_map(|(pattern, action)| {
            let itself = pattern.covers(pointer)?;
            Some(if itself { action.treatment() } else { Treatment::Drop })
        });
        covering.min()
    }
}
