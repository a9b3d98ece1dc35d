//! What makes two events the same.

use sha2::{Digest as _, Sha256};

/// The start of a SHA-256. Nobody finds another event with the same 128 bits.
pub(super) type Digest = [u8; 16];

/// An event, as short as it can be remembered: its name, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub(super) name: Digest,
    pub(super) content: Digest,
}

/// What an event is called. Two events with the same name are the same, or one of them has it wrongly.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    /// Who sent it, as far as anybody has found out: the attribute `authid`.
    pub consumer: Option<&'a str>,
    /// How that was found out, the attribute `authtype`: what one method calls somebody another may call somebody else.
    pub auth_type: Option<&'a str>,
    /// The attribute `source`.
    pub source: &'a str,
    /// The attribute `id`.
    pub id: &'a str,
    /// The cluster that it is for.
    pub cluster: &'a str,
    /// The topic that it is for.
    pub topic: &'a str,
    /// The batch whose key the id was made of; none if somebody gave the id.
    pub batch: Option<&'a str>,
}

/// A batch whose events have ids that were made of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Who sent it: `authid` and `authtype`.
    pub consumer: (Option<&'a str>, Option<&'a str>),
    /// Its key.
    pub key: &'a str,
    /// A fingerprint of all of it.
    pub payload: Option<&'a str>,
}

/// What an event says, as far as whoever sent it answers for that. What a gateway adds is left out, since it differs
/// from one attempt to the next: when and from where a request came, its id, its trace.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The attribute `type`.
    pub type_: Option<&'a str>,
    /// The attribute `subject`.
    pub subject: Option<&'a str>,
    /// The attribute `datacontenttype`.
    pub data_content_type: Option<&'a str>,
    /// The attribute `dataschema`.
    pub data_schema: Option<&'a str>,
    /// The payload.
    pub data: Data<'a>,
    /// Whether the record's value is null.
    pub tombstone: bool,
    /// A fingerprint of what the request says that the event does not.
    pub request: Option<&'a str>,
}

/// A payload, as it is spelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Data<'a> {
    /// None.
    #[default]
    Absent,
    /// `data`, in JSON.
    Json(&'a str),
    /// `data_base64`, a string in JSON.
    Base64(&'a str),
    /// The body of a request in binary mode.
    Body(&'a [u8]),
}

impl Identity {
    /// As 32 bytes, to be kept.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(self.name.into_iter().chain(self.content)).for_each(|(to, from)| *to = from);
        bytes
    }

    /// What [`Self::to_bytes`] made.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let (mut name, mut content) = (Digest::default(), Digest::default());
        name.iter_mut().chain(&mut content).zip(bytes).for_each(|(to, from)| *to = from);
        Self { name, content }
    }

    /// Of an event with this name, whatever it says.
    pub fn of_name(name: &Name<'_>) -> Self {
        Self { name: name.digest(), content: Digest::default() }
    }

    /// Of a batch as a whole, which is no event.
    pub fn of_batch(batch: &Batch<'_>) -> Self {
        let mut names = Fields::default();
        names.add(Some(b"batch"));
        let (consumer, auth_type) = batch.consumer;
        for field in [consumer, auth_type, Some(batch.key)] {
            names.add(field.map(str::as_bytes));
        }
        let mut contents = Fields::default();
        contents.add(batch.payload.map(str::as_bytes));
        Self { name: names.finish(), content: contents.finish() }
    }

    /// Of an event with this name that says this.
    pub fn new(name: &Name<'_>, content: &Content<'_>) -> Self {
        let mut contents = Fields::default();
        contents.add(content.key);
        for field in [content.type_, content.subject, content.data_content_type, content.data_schema] {
            contents.add(field.map(str::as_bytes));
        }
        contents.add(content.tombstone.then_some(&[]));
        let (kind, data): (&[u8], Option<&[u8]>) = match content.data {
            Data::Absent => (b"", None),
            Data::Json(text) => (b"data", Some(text.as_bytes())),
            Data::Base64(text) => (b"data_base64", Some(text.as_bytes())),
            Data::Body(bytes) => (b"body", Some(bytes)),
        };
        contents.add(Some(kind));
        contents.add(data);
        contents.add(content.request.map(str::as_bytes));
        Self { name: name.digest(), content: contents.finish() }
    }
}

impl Name<'_> {
    fn digest(&self) -> Digest {
        let mut names = Fields::default();
        for field in [self.consumer, self.auth_type, self.batch] {
            names.add(field.map(str::as_bytes));
        }
        for field in [self.source, self.id, self.cluster, self.topic] {
            names.add(Some(field.as_bytes()));
        }
        names.finish()
    }
}

/// Hashes fields so that no two lists of fields look the same: each is preceded by whether it is there, and its length.
#[derive(Default)]
struct Fields(Sha256);

impl Fields {
    fn add(&mut self, field: Option<&[u8]>) {
        match field {
            None => self.0.update([0]),
            Some(bytes) => {
                self.0.update([1]);
                self.0.update((bytes.len() as u64).to_be_bytes());
                self.0.update(bytes);
            }
        }
    }

    fn finish(self) -> Digest {
        let whole = self.0.finalize();
        let mut start = Digest::default();
        start.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Name<'_> = Name {
        consumer: Some("alice"),
        auth_type: Some("api_key"),
        source: "/s",
        id: "1",
        cluster: "default",
        topic: "t",
        batch: None,
    };
    const CONTENT: Content<'_> = Content {
        key: Some(b"k"),
        type_: Some("t"),
        subject: None,
        data_content_type: None,
        data_schema: None,
        data: Data::Json("1"),
        tombstone: false,
        request: None,
    };

    #[test]
    fn an_identity_is_kept_in_bytes() {
        let identity = Identity::new(&NAME, &CONTENT);
        let bytes = identity.to_bytes();
        assert_eq!((&bytes[..16], &bytes[16..]), (&identity.name[..], &identity.content[..]));
        assert_eq!(Identity::from_bytes(bytes), identity);
    }

    #[test]
    fn each_part_of_a_name_counts() {
        let of = |name: Name<'_>| Identity::new(&name, &CONTENT);
        let identity = of(NAME);
        assert_eq!(of(NAME), identity);
        for other in [
            Name { consumer: None, ..NAME },
            Name { consumer: Some("bob"), ..NAME },
            Name { auth_type: Some("jwt"), ..NAME },
            Name { auth_type: None, ..NAME },
            Name { auth_type: None, batch: Some("api_key"), ..NAME },
            Name { batch: Some("b"), ..NAME },
            Name { source: "/", ..NAME },
            Name { id: "2", ..NAME },
            Name { topic: "u", ..NAME },
            Name { cluster: "eu", ..NAME },
            // The same letters, elsewhere.
            Name { source: "/s1", id: "", ..NAME },
            Name { source: "/", id: "s1", ..NAME },
        ] {
            let other_identity = of(other);
            assert_ne!(other_identity.name, identity.name, "{other:?}");
            assert_eq!(other_identity.content, identity.content, "{other:?}");
        }
    }

    #[test]
    fn a_name_can_be_all_that_counts() {
        let identity = Identity::of_name(&NAME);
        assert_eq!(identity.name, Identity::new(&NAME, &CONTENT).name);
        assert_ne!(identity.content, Identity::new(&NAME, &CONTENT).content);
        assert_ne!(identity, Identity::of_name(&Name { id: "2", ..NAME }));
    }

    #[test]
    fn each_part_of_a_batch_counts_and_none_is_an_event() {
        let batch = Batch { consumer: (Some("alice"), Some("api_key")), key: "k", payload: Some("p") };
        let identity = Identity::of_batch(&batch);
        for other in [
            Batch { consumer: (Some("bob"), Some("api_key")), ..batch },
            Batch { consumer: (Some("alice"), None), ..batch },
            Batch { key: "l", ..batch },
        ] {
            assert_ne!(Identity::of_batch(&other).name, identity.name, "{other:?}");
        }
        let other = Identity::of_batch(&Batch { payload: Some("q"), ..batch });
        assert_eq!(other.name, identity.name);
        assert_ne!(other.content, identity.content);
    }

    #[test]
    fn each_part_of_what_is_said_counts() {
        let of = |content: Content<'_>| Identity::new(&NAME, &content);
        let identity = of(CONTENT);
        assert_eq!(of(CONTENT), identity);
        for other in [
            Content { key: None, ..CONTENT },
            Content { key: Some(b""), ..CONTENT },
            Content { type_: Some("u"), ..CONTENT },
            Content { subject: Some("t"), ..CONTENT },
            Content { type_: None, subject: Some("t"), ..CONTENT },
            Content { data_content_type: Some("text/plain"), ..CONTENT },
            Content { data_schema: Some("urn:a:b"), ..CONTENT },
            Content { tombstone: true, ..CONTENT },
            Content { request: Some("r"), ..CONTENT },
            Content { data: Data::Absent, ..CONTENT },
            Content { data: Data::Json("1.0"), ..CONTENT },
            Content { data: Data::Base64("1"), ..CONTENT },
            Content { data: Data::Body(b"1"), ..CONTENT },
        ] {
            let other_identity = of(other);
            assert_ne!(other_identity.content, identity.content, "{other:?}");
            assert_eq!(other_identity.name, identity.name, "{other:?}");
        }
    }
}
