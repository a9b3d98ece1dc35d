//! Webhooks.

use std::rc::Rc;
use std::time::Duration;

use super::super::document::{self, Provider, Secret, SecretEncoding, SignatureEncoding};
use super::super::error::{Mistakes, quoted};
use super::authentication::{Consumers, has_another_use};
use crate::auth::Webhook;
use crate::webhook::{DEFAULT_TOLERANCE, Encoding, Engine, Generic, Key, KeyForm, Layout, Preset};

/// Compiles a method; `None` where something is wrong without which nothing can be made of it.
pub(super) fn compile(
    fields: &document::Webhook,
    path: &str,
    consumers: &Consumers,
    mistakes: &mut Mistakes,
) -> Option<Webhook> {
    let (layout, form) = compile_layout(fields, path, mistakes)?;
    let mut keys = Vec::new();
    for (index, Secret(secret)) in fields.secrets.iter().enumerate() {
        match Key::parse(secret, form) {
            Ok(key) => keys.push(key),
            Err(wanted) => {
                let got = format!("{} bytes (not shown)", secret.len());
                mistakes.add(format!("{path}.secrets[{index}]"), wanted, got);
            }
        }
    }
    let consumer = fields.consumer.as_ref().and_then(|name| {
        let consumer = consumers.named.get(name).map(Rc::clone);
        if consumer.is_none() {
            mistakes.add(format!("{path}.consumer"), "the name of a consumer", quoted(name));
        }
        consumer
    });
    let tolerance = compile_tolerance(fields, &layout, path, mistakes);
    if keys.len() != fields.secrets.len() {
        return None;
    }
    let engine = Engine::new(layout, keys, tolerance);
    let got = || format!("{} of them", fields.secrets.len());
    let engine = engine.map_err(|wanted| mistakes.add(format!("{path}.secrets"), wanted, got())).ok()?;
    Some(Webhook { engine, consumer, forward: fields.forward })
}

fn compile_layout(
    fields: &document::Webhook,
    path: &str,
    mistakes: &mut Mistakes,
) -> Option<(Layout, KeyForm)> {
    let preset = match fields.provider {
        Provider::Github => Preset::Github,
        Provider::Stripe => Preset::Stripe,
        Provider::Slack => Preset::Slack,
        Provider::Shopify => Preset::Shopify,
        Provider::StandardWebhooks => Preset::StandardWebhooks,
        Provider::Other => return compile_described(fields, path, mistakes),
    };
    if fields.signature.is_some() {
        let got = "it beside a provider whose signatures are known";
        mistakes.add(format!("{path}.signature"), "it only with the provider other", got);
    }
    let form = if preset == Preset::StandardWebhooks { KeyForm::StandardWebhooks } else { KeyForm::Text };
    Some((Layout::preset(preset), form))
}

fn compile_described(
    fields: &document::Webhook,
    path: &str,
    mistakes: &mut Mistakes,
) -> Option<(Layout, KeyForm)> {
    let path = format!("{path}.signature");
    let Some(signature) = &fields.signature else {
        let wanted = "where the signature is, because the provider is other";
        mistakes.add(path, wanted, "nothing (the field is missing)");
        return None;
    };
    let generic = Generic {
        header: &signature.header,
        prefix: &signature.prefix,
        encoding: match signature.encoding {
            SignatureEncoding::Hex => Encoding::Hex,
            SignatureEncoding::Base64 => Encoding::Base64,
        },
        separator: signature.separator.as_deref(),
        signed: &signature.signed,
        timestamp_header: signature.timestamp_header.as_deref(),
        timestamp_prefix: signature.timestamp_prefix.as_deref(),
        id_header: signature.id_header.as_deref(),
    };
    let form = match signature.secret_encoding {
        SecretEncoding::Text => KeyForm::Text,
        SecretEncoding::Base64 => KeyForm::StandardWebhooks,
    };
    if has_another_use(&signature.header.to_ascii_lowercase()) {
        let wanted = "the name of a header that has no other use, such as x-signature";
        mistakes.add(format!("{path}.header"), wanted, quoted(&signature.header));
    }
    match Layout::generic(&generic) {
        Ok(layout) => Some((layout, form)),
        Err(wrong) => {
            for mistake in wrong {
                let got = match mistake.field {
                    "signed" => quoted(&signature.signed),
                    _ => "another".to_owned(),
                };
                mistakes.add(format!("{path}.{}", mistake.field), mistake.wanted, got);
            }
            None
        }
    }
}

fn compile_tolerance(
    fields: &document::Webhook,
    layout: &Layout,
    path: &str,
    mistakes: &mut Mistakes,
) -> Duration {
    let Some(text) = &fields.tolerance else { return DEFAULT_TOLERANCE };
    let path = format!("{path}.tolerance");
    if !layout.has_timestamp() {
        mistakes.add(path, "it only where the time is signed", quoted(text));
        return DEFAULT_TOLERANCE;
    }
    let bounds = Duration::from_secs(1)..=Duration::from_secs(3_600);
    match humantime::parse_duration(text) {
        Ok(tolerance) if bounds.contains(&tolerance) => tolerance,
        _ => {
            mistakes.add(path, "a duration from 1s to 1h", quoted(text));
            DEFAULT_TOLERANCE
        }
    }
}
