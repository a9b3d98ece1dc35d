//! JSON documents as people and machines really write them, for property tests: with whitespace anywhere, repeated
//! members, and names and strings in more than one spelling.

use proptest::prelude::*;

/// A document, of which every byte is known.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    whitespace: &'static str,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Leaf(String),
    Array(Vec<Node>),
    Object(Vec<(Spelled, Node)>),
}

/// A string and how it is written, with its quotes.
#[derive(Clone, Debug)]
pub(crate) struct Spelled {
    pub(crate) text: String,
    pub(crate) json: String,
}

/// A step from a container to one of its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Element(usize),
    Member(String),
}

/// What becomes of a node when it is written.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Keep,
    Drop,
    Replace(String),
}

const NAMES: [&str; 9] = ["a", "b", "0", "1", "*", "", "a/b", "~", "é\"𝄞"];

impl Node {
    /// The document, after `edit` has decided for each node, the outer before the inner.
    pub(crate) fn write(&self, edit: &mut dyn FnMut(&[Step], &Node) -> Edit) -> String {
        self.write_at(&mut Vec::new(), edit).unwrap_or_default()
    }

    /// The document as it is.
    pub(crate) fn json(&self) -> String {
        self.write(&mut |_, _| Edit::Keep)
    }

    /// Replaces the leaves for which `replace` has other JSON.
    pub(crate) fn replace_leaves(&mut self, replace: &mut dyn FnMut(&[Step]) -> Option<String>) {
        self.replace_leaves_at(&mut Vec::new(), replace);
    }

    fn replace_leaves_at(
        &mut self,
        path: &mut Vec<Step>,
        replace: &mut dyn FnMut(&[Step]) -> Option<String>,
    ) {
        let mut child = |step, node: &mut Self| {
            path.push(step);
            node.replace_leaves_at(path, replace);
            path.pop();
        };
        match &mut self.kind {
            Kind::Leaf(json) => *json = replace(path).unwrap_or_else(|| std::mem::take(json)),
            Kind::Array(elements) => {
                for (index, node) in elements.iter_mut().enumerate() {
                    child(Step::Element(index), node);
                }
            }
            Kind::Object(members) => {
                for (name, node) in members {
                    child(Step::Member(name.text.clone()), node);
                }
            }
        }
    }

    fn write_at(&self, path: &mut Vec<Step>, edit: &mut dyn FnMut(&[Step], &Node) -> Edit) -> Option<String> {
        match edit(path, self) {
            Edit::Keep => {}
            Edit::Drop => return None,
            Edit::Replace(json) => return Some(json),
        }
        let ws = self.whitespace;
        let mut children = Vec::new();
        let mut child = |prefix: String, step, node: &Node| {
            path.push(step);
            if let Some(json) = node.write_at(path, edit) {
                children.push(format!("{prefix}{json}"));
            }
            path.pop();
        };
        let (open, close) = match &self.kind {
            Kind::Leaf(json) => return Some(json.clone()),
            Kind::Array(elements) => {
                for (index, node) in elements.iter().enumerate() {
                    child(String::new(), Step::Element(index), node);
                }
                ('[', ']')
            }
            Kind::Object(members) => {
                for (name, node) in members {
                    child(format!("{}{ws}:{ws}", name.json), Step::Member(name.text.clone()), node);
                }
                ('{', '}')
            }
        };
        Some(format!("{open}{ws}{}{ws}{close}", children.join(&format!("{ws},{ws}"))))
    }
}

/// Whether `pattern` names the node at `path`: the definition, without any regard to cost.
pub(crate) fn names(pattern: &str, path: &[Step]) -> bool {
    let tokens: Vec<&str> = pattern.split('/').skip(1).collect();
    tokens.len() == path.len()
        && tokens.iter().zip(path).all(|(token, step)| {
            let name = token.replace("~1", "/").replace("~0", "~");
            *token == "*"
                || match step {
                    Step::Element(index) => name == index.to_string(),
                    Step::Member(member) => &name == member,
                }
        })
}

pub(crate) fn any_node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        any_spelled("[a-c \"\\\\/\u{1}é𝄞]{0,4}").prop_map(|spelled| spelled.json),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?",
        prop::sample::select(vec!["null", "true", "false", r#""\ud800""#]).prop_map(str::to_owned),
    ]
    .prop_map(Kind::Leaf);
    let whitespace = || prop::sample::select(vec!["", "", " ", "\r\n\t "]);
    (whitespace(), leaf).prop_map(|(whitespace, kind)| Node { whitespace, kind }).prop_recursive(
        5,
        48,
        5,
        move |node| {
            let kind = prop_oneof![
                prop::collection::vec(node.clone(), 0..5).prop_map(Kind::Array),
                prop::collection::vec((any_name(), node), 0..5).prop_map(Kind::Object),
            ];
            (whitespace(), kind).prop_map(|(whitespace, kind)| Node { whitespace, kind })
        },
    )
}

pub(crate) fn any_pattern() -> impl Strategy<Value = String> {
    pointer_of(prop_oneof![Just("*".to_owned()), any_token()])
}

/// A pointer that means the same as a pattern.
pub(crate) fn any_pointer() -> impl Strategy<Value = String> {
    pointer_of(any_token().prop_filter("a star would be a wildcard", |token| token != "*"))
}

fn pointer_of(token: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(token, 1..4).prop_map(|tokens| format!("/{}", tokens.join("/")))
}

fn any_token() -> impl Strategy<Value = String> {
    prop::sample::select(NAMES.as_slice()).prop_map(|name| name.replace('~', "~0").replace('/', "~1"))
}

/// One of the possible spellings of a text that matches the regular expression.
pub(crate) fn any_spelled(regex: &'static str) -> impl Strategy<Value = Spelled> {
    (regex, any::<u8>()).prop_map(|(text, escapes)| spell(text, escapes))
}

fn any_name() -> impl Strategy<Value = Spelled> {
    (prop::sample::select(NAMES.as_slice()), any::<u8>())
        .prop_map(|(text, escapes)| spell(text.to_owned(), escapes))
}

/// Writes a text as a JSON string; each bit of `escapes` has every eighth character escaped without need.
pub(crate) fn spell(text: String, escapes: u8) -> Spelled {
    let mut json = String::from("\"");
    for (position, character) in text.chars().enumerate() {
        if escapes >> (position % 8) & 1 == 1 || character.is_control() {
            for unit in character.encode_utf16(&mut [0; 2]) {
                json.push_str(&format!("\\u{unit:04X}"));
            }
        } else {
            match character {
                '"' | '\\' => json.extend(['\\', character]),
                '/' if escapes & 1 == 0 => json.push_str("\\/"),
                character => json.push(character),
            }
        }
    }
    json.push('"');
    Spelled { text, json }
}
