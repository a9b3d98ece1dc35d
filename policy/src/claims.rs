//! What is known of a caller beside the name: claims, as JSON Web Tokens call them (RFC 7519, section 4).

use std::fmt;
use std::rc::Rc;

use serde_json::value::RawValue;

use crate::json_pointer::{self, Pointer};

/// The claims of a caller: a JSON object, as it was written. Whoever makes one has verified it; what a caller merely
/// says of itself is none. It never shows what it holds.
#[derive(Clone)]
pub struct Claims(Rc<RawValue>);

impl Claims {
    /// Takes a JSON object.
    pub fn new(object: Box<RawValue>) -> Self {
        Self(Rc::from(object))
    }

    /// The object.
    pub fn json(&self) -> &RawValue {
        &self.0
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(not shown)")
    }
}

impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for Claims {}

/// Where a claim is: the name of one (`tenant`, `https://example.com/tenant`), exactly as it is spelled; or, with a
/// slash before it, a JSON pointer into all of them (`/org/id`). Names have dots and colons of their own, so neither
/// is a way into an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath {
    text: String,
    pointer: Pointer,
}

impl ClaimPath {
    /// Parses a name or a pointer.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pointer = match text {
            "" => return Err("the name of a claim, or a JSON pointer to it".to_owned()),
            pointer if pointer.starts_with('/') => Pointer::parse(pointer)?,
            name => Pointer::parse(&format!("/{}", name.replace('~', "~0").replace('/', "~1")))?,
        };
        Ok(Self { text: text.to_owned(), pointer })
    }

    /// The claim in these claims, as it is written there.
    ///
    /// # Errors
    /// [`json_pointer::Ambiguous`] when a member on the way occurs more than once.
    pub(crate) fn find<'c>(
        &self,
        claims: &'c RawValue,
    ) -> Result<Option<&'c RawValue>, json_pointer::Ambiguous> {
        json_pointer::find(claims, &self.pointer)
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
