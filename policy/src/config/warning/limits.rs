//! What is unwise about limits.

use super::super::compile::ANONYMOUS;
use super::super::document::{Document, Route};

pub(super) fn of_document(document: &Document, warn: &mut impl FnMut(String, &str)) {
    let rates = document.rate_limits.iter().map(|(name, limit)| ("rate_limits", name, &limit.key));
    let flights =
        document.concurrency_limits.iter().map(|(name, limit)| ("concurrency_limits", name, &limit.key));
    for (field, name, key) in rates.chain(flights) {
        let users: Vec<&Route> = document.routes.iter().filter(|route| route.limits.contains(name)).collect();
        if users.is_empty() {
            warn(format!("{field}.{name}"), "no route uses it");
        }
        // Whoever may choose part of the key has as many counts as there are choices.
        let chosen = key.iter().any(|part| part.starts_with("header:") || part.starts_with("path:"));
        let known =
            key.iter().any(|part| part == "address" || part == "consumer" || part.starts_with("claim:"));
        if chosen && !known {
            let what = if key.iter().any(|part| part.starts_with("header:")) { "header" } else { "path" };
            let text = format!(
                "callers choose their own {what}, and with it their own count; add address or consumer"
            );
            warn(format!("{field}.{name}.key"), &text);
        }
        let of_callers = key.iter().any(|part| part == "consumer" || part.starts_with("claim:"));
        let anonymous = |route: &&Route| route.authentication.names().any(|method| method == ANONYMOUS);
        if let Some(route) = users.iter().find(|route| of_callers && anonymous(route)) {
            let text = format!("the anonymous callers of route {:?} are counted together", route.name);
            warn(format!("{field}.{name}.key"), &text);
        }
    }
}
