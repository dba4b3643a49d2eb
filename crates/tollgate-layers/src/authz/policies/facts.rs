//! What policies are told of a request: only the facts that they look at are put into words.

use cedar_policy::{Context, RestrictedExpression as Word};
use tollgate_core::call::{Ask, Call, Media};
use tollgate_core::identity::{Identity, Method};

use super::reads::Reads;
use super::world::World;
use crate::authz::lists::Tenant;
use crate::authz::{Action, Late, Occasion, Payload};

/// What can be told of a request.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) who: &'a Identity,
    /// `None` stands for a route that is open to everybody.
    pub(super) tenant: Option<&'a Tenant>,
    pub(super) route: usize,
    pub(super) at: Occasion,
    pub(super) late: Option<Late<'a>>,
}

impl Facts<'_> {
    /// The scopes of the caller, as policies see them.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        let open: &[&str] = if self.tenant.is_none() { &["infer", "list"] } else { &[] };
        self.tenant.into_iter().flat_map(|tenant| tenant.scopes_of(self.who)).chain(open.iter().copied())
    }

    /// Those of `reads`, in Cedar's words.
    pub(super) fn tell(&self, reads: Reads, action: Action, world: &World) -> Option<Context> {
        let mut told: Vec<(String, Word)> = Vec::with_capacity(9);
        let mut tell = |fact: Reads, name: &str, word: &dyn Fn() -> Option<Word>| {
            if reads.any(fact)
                && let Some(word) = word()
            {
                told.push((name.to_owned(), word));
            }
        };
        tell(Reads::SCOPES, "scopes", &|| Some(Word::new_set(self.scopes().map(text))));
        tell(Reads::MTLS, "mtls", &|| Some(Word::new_bool(self.who.mtls)));
        tell(Reads::IP, "ip", &|| Some(Word::new_ip(self.at.from.to_string())));
        tell(Reads::HOUR, "hour", &|| Some(Word::new_long(world.hour(self.at.unix_ms))));
        tell(Reads::REGION, "region", &|| Some(text(&world.region)));
        tell(Reads::ROUTE, "route", &|| world.route(self.route).cloned().map(Word::new_entity_uid));
        tell(Reads::MODELS, "models", &|| self.models(world));
        let reads_body = action != Action::List;
        let late = self.late.filter(|_| reads_body);
        tell(Reads::COST, "cost", &|| late?.cost().map(|cost| Word::new_long(long(cost))));
        tell(Reads::PAYLOAD, "payload", &|| payload(&late?.payload()));
        Context::from_pairs(told).ok()
    }

    fn models(&self, world: &World) -> Option<Word> {
        let held = self.who.models.iter().map(|name| Word::new_entity_uid(world.name_model(name)));
        (!self.who.models.is_empty()).then(|| Word::new_set(held))
    }
}

/// Whether the caller is a `Workload`, and no `Client`: proven by a certificate.
pub(super) fn is_workload(who: &Identity) -> bool {
    who.method == Method::Certificate
}

fn text(text: &str) -> Word {
    Word::new_string(text.to_owned())
}

fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn payload(payload: &Payload) -> Option<Word> {
    let mut told = vec![
        ("kind".to_owned(), text(&payload.kind)),
        ("bytes".to_owned(), Word::new_long(long(payload.bytes))),
        ("batch".to_owned(), Word::new_long(long(payload.batch))),
        ("has_url".to_owned(), Word::new_bool(payload.has_url)),
    ];
    told.extend(payload.max_tokens.map(|most| ("max_tokens".to_owned(), Word::new_long(long(most)))));
    Word::new_record(told).ok()
}

impl Late<'_> {
    pub(super) fn cost(&self) -> Option<u64> {
        match self {
            Self::Imagined(_, cost) => *cost,
            Self::Parsed { cost, .. } => Some(cost()),
        }
    }

    pub(super) fn payload(&self) -> Payload {
        match self {
            Self::Imagined(payload, _) => (*payload).clone(),
            Self::Parsed { call, .. } => Payload::of(call),
        }
    }
}

impl Payload {
    fn of(call: &Call) -> Self {
        let kind = match call {
            Call { media, .. } if !media.is_empty() => "media",
            Call { prompts, .. } if !prompts.is_empty() => "text",
            Call { inputs, .. } if !inputs.is_empty() => "tensor",
            Call { document: Some(_), .. } => "json",
            _ => "other",
        };
        let prompts = call.knobs.asked.iter().find(|asked| asked.what == Ask::Prompts).map(|asked| asked.value);
        Self {
            kind: kind.into(),
            bytes: call.body_bytes,
            batch: prompts.unwrap_or_else(|| call.batch()),
            max_tokens: call.knobs.output_tokens,
            has_url: call.media.iter().any(|medium| medium.kind == Media::FETCHED),
        }
    }
}
