//! Reading a list that may not be longer than a limit: what is beyond the limit is not read, so it takes no memory.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

/// Reads the elements of a list, and stops at the first that is too many: then there is an error, and `too_many` says
/// that it is this one.
#[derive(Debug)]
pub(super) struct AtMost<'m, T> {
    most: usize,
    too_many: &'m mut bool,
    element: PhantomData<T>,
}

impl<'m, T> AtMost<'m, T> {
    /// At most so many.
    pub(super) fn new(most: usize, too_many: &'m mut bool) -> Self {
        Self { most, too_many, element: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for AtMost<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for AtMost<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            if elements.len() == self.most {
                *self.too_many = true;
                return Err(A::Error::custom("too many elements"));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}
