//! What keeps the parts of a topic's name apart.
//!
//! What is known of a caller (its claims, its name) is no bound to where it may write if the rest of the topic can
//! be made to continue it: with `t.{claim:tenant}.{kind}`, the tenant `acme` with the kind `eu.orders` would write to
//! the topic of the tenant `acme.eu` with the kind `orders`. So what a request chooses must not hold the character
//! that parts it from what is known, and the name of a topic then tells what is known, and nothing else does.

use crate::template::{Piece, Template};

/// For each hole, in order, a character that must not be in what fills it. There is none where no hole stands for
/// what is known of the caller, or all do.
///
/// # Errors
/// What was wanted, in words.
pub(super) fn separators(template: &Template) -> Result<Vec<Option<char>>, String> {
    let layout = Layout::of(template);
    let holes = layout.known.len();
    let (first, last) =
        (layout.known.iter().position(|known| *known), layout.known.iter().rposition(|known| *known));
    let (Some(first), Some(last)) = (first, last) else { return Ok(vec![None; holes]) };
    if layout.known.iter().all(|known| *known) {
        return Ok(vec![None; holes]);
    }
    for (hole, pair) in layout.known.windows(2).enumerate() {
        if pair.first() != pair.last() && layout.behind(hole).is_empty() {
            return Err(
                "text between a hole for what is known of the caller (claim, consumer) and one for what the request \
                 chooses"
                    .to_owned(),
            );
        }
    }
    // From both ends inward, each hole ends where its separator is found, and the rest is what is known. Where what is
    // known is not in one piece, there is no such rest, and holes are told one by one from the left.
    let one_piece = layout.known.get(first..=last).unwrap_or_default().iter().all(|known| *known);
    let separators = (0..holes).map(|hole| match one_piece {
        true if hole < first => layout.separator_behind(hole),
        true if hole > last => layout.separator_before(hole),
        true => None,
        false => layout.separator_behind(hole),
    });
    let separators: Vec<_> = separators.collect();
    for (separator, default) in separators.iter().zip(&layout.defaults) {
        if let (Some(separator), Some(default)) = (separator, default)
            && default.contains(*separator)
        {
            return Err(format!(
                "defaults without {separator:?}, which parts what the request chooses from what is known of the caller"
            ));
        }
    }
    Ok(separators)
}

/// The holes of a template, and the literals around them.
struct Layout<'t> {
    /// For each hole, whether it stands for what is known of the caller.
    known: Vec<bool>,
    /// For each hole, the text that stands in for what is missing.
    defaults: Vec<Option<&'t str>>,
    /// For each hole, the text between it and the next one, or the end.
    literals: Vec<&'t str>,
}

impl<'t> Layout<'t> {
    fn of(template: &'t Template) -> Self {
        let mut layout = Self { known: Vec::new(), defaults: Vec::new(), literals: Vec::new() };
        for piece in template.pieces() {
            match piece {
                Piece::Hole { known, default, .. } => {
                    layout.known.push(known);
                    layout.defaults.push(default);
                    layout.literals.push("");
                }
                // The prefix, which no request changes, is before all holes.
                Piece::Literal(text) => {
                    if let Some(last) = layout.literals.last_mut() {
                        *last = text;
                    }
                }
            }
        }
        layout
    }

    fn behind(&self, hole: usize) -> &'t str {
        self.literals.get(hole).copied().unwrap_or_default()
    }

    /// The first character between this hole and the next one, where several without text between them count as one.
    /// `None` for the last, whose end is that of the topic.
    fn separator_behind(&self, hole: usize) -> Option<char> {
        let between = self.literals.get(hole..self.literals.len().saturating_sub(1)).unwrap_or_default();
        between.iter().find_map(|text| text.chars().next())
    }

    /// The last character between this hole and the one before it, likewise.
    fn separator_before(&self, hole: usize) -> Option<char> {
        let between = self.literals.get(..hole).unwrap_or_default();
        between.iter().rev().find_map(|text| text.chars().next_back())
    }
}
