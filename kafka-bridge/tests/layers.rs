//! The modules of the bridge form layers: no import goes upward, and none in a circle.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// All modules from the ground up. A module may use those of the lines above its own.
const FLOORS: &[&[&str]] = &[
    &["delivery", "embedded", "metrics", "problem", "shutdown", "sparse", "stats", "topics", "values"],
    &["body_memory", "breaker", "hop", "redis_link", "telemetry"],
    &["health", "idempotency", "limits", "server"],
    &["producer"],
    &["spool", "watch"],
    &["clusters"],
    &["http"],
    &["config"],
    &["reload"],
];

/// The modules that the source of one names, `crate::a::b` and `crate::{a, b::c}` alike. Tests may look anywhere.
fn imports(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (index, character) in list.char_indices() {
            match character {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                ' ' => {}
                _ if start => {
                    found.insert(name(&list[index..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// The name that a text begins with.
fn name(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

/// The sources of each module, without those of its tests.
fn sources(directory: &Path, module: Option<&str>, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if stem == "tests" || module.is_none() && ["main", "lib"].contains(&stem.as_str()) {
            continue;
        }
        let module = module.map_or(stem, str::to_owned);
        if path.is_dir() {
            sources(&path, Some(&module), all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            all.entry(module).or_default().push_str(source.split("#[cfg(test)]\nmod tests").next().unwrap());
        }
    }
}

#[test]
fn no_module_imports_upward_or_in_a_circle() {
    let mut modules = BTreeMap::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &mut modules);
    let floor = |module: &str| FLOORS.iter().position(|floor| floor.contains(&module));
    let mut wrong = Vec::new();
    let mut arrows = 0;
    for (module, source) in &modules {
        let Some(own) = floor(module) else {
            wrong.push(format!("{module} is on no floor"));
            continue;
        };
        for import in
            imports(source).iter().filter(|import| *import != module && modules.contains_key(*import))
        {
            arrows += 1;
            if floor(import).is_none_or(|other| other >= own) {
                wrong.push(format!("{module} imports {import}, which is not below it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A reader of sources that finds nothing would find nothing wrong.
    assert!(arrows > 40, "{arrows}");
    let named: BTreeSet<&str> = FLOORS.concat().into_iter().collect();
    assert!(named.iter().all(|module| modules.contains_key(*module)), "{named:?}");
}

#[test]
fn imports_are_read_in_all_their_forms() {
    let found = imports(
        "use crate::a::{b, c};\nuse crate::{d, e::{f, g},\n    h};\n// crate::i\nlet x = crate::j::k();",
    );
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "d", "e", "h", "j"]);
}
