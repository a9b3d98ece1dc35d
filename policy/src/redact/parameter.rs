//! Names of query parameters, as readers of queries take them for the same: some decode again, some care nothing for
//! case, and some make a name of what stands before a bracket or a NUL, without the spaces around it, and with an
//! underscore for each dot and space in it.

use percent_encoding::percent_decode;

use crate::spelling::normal;

/// How often a name is decoded.
const ROUNDS: usize = 4;

/// The name of a parameter that is redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    name: String,
    folded: String,
}

impl Parameter {
    /// Takes a decoded name.
    pub(super) fn new(name: &str) -> Self {
        let folded = fold(normal(name), name.contains('['));
        Self { name: name.to_owned(), folded }
    }
}

/// A name in a query, percent-encoded as it came.
pub(super) struct Raw<'q> {
    raw: &'q [u8],
    /// With and without what stands behind a bracket. `None` for a name that only those see who do not split at `;`.
    folded: Option<[String; 2]>,
}

impl<'q> Raw<'q> {
    pub(super) fn new(raw: &'q [u8]) -> Self {
        // Otherwise each piece of a long name would be looked at once for each piece before it.
        let folded = (!raw.contains(&b';')).then(|| {
            let mut name: Vec<u8> = raw.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
            for _ in 0..ROUNDS {
                name = percent_decode(&name).collect();
            }
            let name = normal(&String::from_utf8_lossy(&name));
            [fold(name.clone(), true), fold(name, false)]
        });
        Self { raw, folded }
    }

    /// Whether some reader takes it for this parameter.
    pub(super) fn is(&self, parameter: &Parameter) -> bool {
        is_spelling(self.raw, &parameter.name)
            || self.folded.as_ref().is_some_and(|folded| folded.contains(&parameter.folded))
    }
}

/// `name` is [`normal`].
fn fold(mut name: String, brackets: bool) -> String {
    if let Some(end) = name.find('\0') {
        name.truncate(end);
    }
    let name = name.trim();
    let end = name.find('[').filter(|&place| place > 0 && !brackets);
    let name = end.and_then(|end| name.get(..end)).unwrap_or(name);
    name.replace(['.', ' '], "_")
}

/// Whether `raw` is a spelling of `name`, a `+` being itself or a space.
fn is_spelling(raw: &[u8], name: &str) -> bool {
    let mut decoded = percent_decode(raw);
    name.bytes()
        .all(|wanted| decoded.next().is_some_and(|byte| byte == wanted || (byte, wanted) == (b'+', b' ')))
        && decoded.next().is_none()
}
