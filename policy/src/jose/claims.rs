//! What verified claims grant: scopes, groups, the consumer.
//!
//! A claim of another type than these take grants nothing.

use serde_json::value::RawValue;

use crate::claims::{ClaimPath, Claims};

/// The scopes: `scope`, with spaces between them (RFC 8693, section 4.2), or `scp` where that is missing. Either may be
/// an array of texts.
pub fn scopes(claims: &Claims) -> Vec<String> {
    let claim = |name: &str| find(claims, &ClaimPath::parse(name).ok()?);
    let Some(scope) = claim("scope").or_else(|| claim("scp")) else { return Vec::new() };
    match serde_json::from_str::<String>(scope.get()) {
        Ok(scopes) => scopes.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
        Err(_) => serde_json::from_str(scope.get()).unwrap_or_default(),
    }
}

/// The texts of a claim that is a text or an array of texts, such as groups.
pub fn texts(claims: &Claims, path: &ClaimPath) -> Vec<String> {
    let Some(claim) = find(claims, path) else { return Vec::new() };
    match serde_json::from_str(claim.get()) {
        Ok(text) => vec![text],
        Err(_) => serde_json::from_str(claim.get()).unwrap_or_default(),
    }
}

/// A claim that is a text of at least a character, such as the one that names the consumer.
pub fn text(claims: &Claims, path: &ClaimPath) -> Option<String> {
    serde_json::from_str(find(claims, path)?.get()).ok().filter(|text: &String| !text.is_empty())
}

fn find<'c>(claims: &'c Claims, path: &ClaimPath) -> Option<&'c RawValue> {
    path.find(claims.json()).ok().flatten()
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::new(RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn scopes_are_words_or_an_array() {
        for (json, wanted) in [
            (r#"{"scope":"read write"}"#, &["read", "write"][..]),
            (r#"{"scope":" read  write "}"#, &["read", "write"]),
            (r#"{"scope":["read","write all"]}"#, &["read", "write all"]),
            (r#"{"scp":["read"]}"#, &["read"]),
            (r#"{"scp":"read write"}"#, &["read", "write"]),
            (r#"{"scope":"\u0072ead"}"#, &["read"]),
            // The registered claim counts, even if it grants less.
            (r#"{"scope":"read","scp":["admin"]}"#, &["read"]),
            (r#"{"scope":"","scp":["admin"]}"#, &[]),
            (r#"{"scope":null,"scp":["admin"]}"#, &[]),
            (r#"{"scope":["read",1]}"#, &[]),
            (r#"{"scope":{"read":true}}"#, &[]),
            (r#"{"scope":7}"#, &[]),
            (r#"{"scope":"read\twrite"}"#, &["read\twrite"]),
            ("{}", &[]),
        ] {
            assert_eq!(scopes(&claims(json)), wanted, "{json}");
        }
    }

    #[test]
    fn groups_are_texts_wherever_the_path_leads() {
        let json = claims(
            r#"{"groups":["a","b"],"group":"a","roles":[1],"realm":{"roles":["x"]},"https://a.example/groups":["u"]}"#,
        );
        for (path, wanted) in [
            ("groups", &["a", "b"][..]),
            ("group", &["a"]),
            ("/realm/roles", &["x"]),
            ("https://a.example/groups", &["u"]),
            ("/groups/1", &["b"]),
            ("roles", &[]),
            ("realm", &[]),
            ("missing", &[]),
        ] {
            assert_eq!(texts(&json, &ClaimPath::parse(path).unwrap()), wanted, "{path}");
        }
    }

    #[test]
    fn a_consumer_is_a_text_and_nothing_else() {
        for (json, wanted) in [
            (r#"{"azp":"app"}"#, Some("app")),
            (r#"{"azp":""}"#, None),
            (r#"{"azp":["app"]}"#, None),
            (r#"{"azp":1}"#, None),
            (r#"{"azp":null}"#, None),
            ("{}", None),
        ] {
            let consumer = text(&claims(json), &ClaimPath::parse("azp").unwrap());
            assert_eq!(consumer.as_deref(), wanted, "{json}");
        }
    }
}
