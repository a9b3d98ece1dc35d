//! JSON objects of which every reader has the same idea.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How deep arrays and objects may nest.
pub(super) const MAX_DEPTH: usize = 32;

/// Why a text is not an object that is read the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Not a JSON object in UTF-8.
    NotAnObject,
    /// A member occurs more than once, at any depth. Readers disagree about which one counts.
    RepeatedMember,
    /// Arrays and objects nest too deep.
    TooDeep,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("not a JSON object in UTF-8"),
            Self::RepeatedMember => f.write_str("a JSON object with a repeated member"),
            Self::TooDeep => write!(f, "JSON nested deeper than {MAX_DEPTH} levels"),
        }
    }
}

/// The members of an object. Values are as they were written.
#[derive(Debug)]
pub(super) struct Object<'j> {
    members: Vec<(Cow<'j, str>, &'j RawValue)>,
}

/// A member has another type than its name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongType;

impl<'j> Object<'j> {
    /// Reads an object and checks all that is in it.
    pub(super) fn parse(text: &'j [u8]) -> Result<Self, Flaw> {
        let flaw = Cell::new(Flaw::NotAnObject);
        let strict = Strict { depth: MAX_DEPTH, flaw: &flaw };
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        strict
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end())
            .and_then(|()| serde_json::from_slice(text))
            .map_err(|_| flaw.get())
    }

    /// Reads an object inside one that is checked already.
    pub(super) fn of_checked(json: &'j RawValue) -> Option<Self> {
        serde_json::from_str(json.get()).ok()
    }

    /// The value of a member.
    pub(super) fn get(&self, name: &str) -> Option<&'j RawValue> {
        self.members.iter().find(|(other, _)| other == name).map(|(_, value)| *value)
    }

    /// A member, if it is there, as the type that it has to have.
    pub(super) fn read<T: Deserialize<'j>>(&self, name: &str) -> Result<Option<T>, WrongType> {
        self.get(name).map(|value| serde_json::from_str(value.get()).map_err(|_| WrongType)).transpose()
    }
}

impl<'j> Deserialize<'j> for Object<'j> {
    fn deserialize<D: Deserializer<'j>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'j> Visitor<'j> for Members {
            type Value = Object<'j>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<Object<'j>, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Object { members })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// The name of a member, borrowed unless it was written with escapes.
struct Name<'j>(Cow<'j, str>);

impl<'j> Deserialize<'j> for Name<'j> {
    fn deserialize<D: Deserializer<'j>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'j> Visitor<'j> for Text {
            type Value = Name<'j>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'j str) -> Result<Name<'j>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'j>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Checks a value and all that is in it: strings are Unicode, members differ, and nothing nests too deep.
#[derive(Clone, Copy)]
struct Strict<'f> {
    depth: usize,
    flaw: &'f Cell<Flaw>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => {
                self.flaw.set(Flaw::TooDeep);
                Err(E::custom("too deep"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let deeper = self.deeper()?;
        while elements.next_element_seed(deeper)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let deeper = self.deeper()?;
        let mut names = Vec::new();
        while let Some(Name(name)) = members.next_key()? {
            names.push(name);
            members.next_value_seed(deeper)?;
        }
        names.sort_unstable();
        if names.is_sorted_by(|left, right| left < right) {
            return Ok(());
        }
        self.flaw.set(Flaw::RepeatedMember);
        Err(A::Error::custom("a repeated member"))
    }
}
