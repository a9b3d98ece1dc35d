//! Routes that let callers reach what a stricter route is for.

use std::collections::BTreeMap;

use crate::config::document::Document;
use crate::route::{Overlap, Route, Routes};

/// The most routes that a warning names.
const MOST_NAMED: usize = 5;

/// Looks for stricter routes that a route shares requests with.
pub(super) fn of_route(
    route: &Route,
    routes: &Routes,
    places: &BTreeMap<&str, usize>,
    path: &str,
    warn: &mut impl FnMut(String, &str),
) {
    let mut by_overlap: [Vec<usize>; 3] = Default::default();
    let [hidden, other_hosts, headers] = &mut by_overlap;
    for (name, overlap) in routes.stricter_than(route) {
        let group = match overlap {
            Overlap::Hidden => &mut *hidden,
            Overlap::OtherHosts => &mut *other_hosts,
            Overlap::Headers => &mut *headers,
        };
        group.extend(places.get(name));
    }
    let texts = [
        "so whatever could be meant for those paths, by any method and any spelling, is answered 405 or 404 and does not \
         go on by this one; a route of its own for what should",
        "and takes their paths at other hosts as they are; name its hosts, or let the stricter ones be for any host",
        "from which it differs in headers alone: who sends other headers is let in with less; tell them apart by path or \
         method",
    ];
    for (mut group, text) in by_overlap.into_iter().zip(texts) {
        if !group.is_empty() {
            group.sort_unstable();
            warn(
                path.to_owned(),
                &format!("lets callers in with less than {} asks for, {text}", listed(&group)),
            );
        }
    }
}

/// Where each route is, by its name.
pub(super) fn places(document: &Document) -> BTreeMap<&str, usize> {
    document.routes.iter().enumerate().map(|(index, route)| (route.name.as_str(), index)).collect()
}

fn listed(indices: &[usize]) -> String {
    let named: Vec<String> =
        indices.iter().take(MOST_NAMED).map(|index| format!("routes[{index}]")).collect();
    match indices.len().saturating_sub(MOST_NAMED) {
        0 => named.join(", "),
        more => format!("{} (and {more} more)", named.join(", ")),
    }
}

#[cfg(test)]
mod tests;
