//! Texts outside of chats: prompts, texts to embed, documents to rank.

use tollgate_core::call::{Ask, Prompt, Role};

use super::Parser;
use crate::protocol::Wrong;
use crate::protocol::json::{Integer, Kind};

/// How a member holds its texts.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol) struct Form {
    member: &'static str,
    role: Role,
    /// Whether a list is taken.
    many: bool,
    /// Whether token ids stand for text.
    ids: bool,
    /// Whether an object with a `text` stands for one.
    objects: bool,
}

const ONE: Form = Form { member: "", role: Role::User, many: false, ids: false, objects: false };
pub(super) const PROMPT: Form = Form { member: "prompt", many: true, ids: true, ..ONE };
pub(in crate::protocol) const SUFFIX: Form = Form { member: "suffix", ..ONE };
pub(in crate::protocol) const INPUT: Form =
    Form { member: "input", role: Role::Document, many: true, ids: true, ..ONE };
pub(super) const QUERY: Form = Form { member: "query", ..ONE };
pub(super) const DOCUMENTS: Form = Form { member: "documents", role: Role::Document, many: true, objects: true, ..ONE };

impl Parser<'_> {
    /// A text, a list of texts, a list of token ids, or a list of such lists.
    pub(in crate::protocol) fn texts(&mut self, form: Form) -> Result<(), Wrong> {
        match self.reader.peek()? {
            Kind::String => self.prompt(form.role),
            Kind::Null if !form.many => Ok(self.reader.null()?),
            Kind::Array if form.many => self.list(form),
            kind => Err(Wrong::here(if form.many { "a string or a list" } else { "a string" }, kind.name())),
        }
    }

    fn list(&mut self, form: Form) -> Result<(), Wrong> {
        self.reader.enter_array()?;
        let (mut texts, mut ids, mut kind) = (0_u64, 0_u64, None);
        while self.reader.next_item()? {
            let found = self.reader.peek()?;
            let at = texts.max(ids);
            if *kind.get_or_insert(found) != found {
                return Err(Wrong::here("items of one kind", found.name()).under(at));
            }
            match found {
                Kind::String => self.prompt(form.role)?,
                Kind::Number if form.ids => self.token_id().map_err(|wrong| wrong.under(at))?,
                Kind::Array if form.ids => {
                    let inner = self.token_ids().map_err(|wrong| wrong.under(at))?;
                    self.asked(Ask::TokenIds, &format!("{}/{at}", form.member), inner);
                }
                Kind::Object if form.objects => self.text_object(form.role).map_err(|wrong| wrong.under(at))?,
                found => return Err(Wrong::here("a string", found.name()).under(at)),
            }
            if found == Kind::Number { ids += 1 } else { texts += 1 }
        }
        if texts == 0 && ids == 0 {
            return Err(Wrong::here("at least one item", "none"));
        }
        if ids > 0 {
            self.asked(Ask::TokenIds, form.member, ids);
        }
        self.asked(Ask::Prompts, form.member, texts.max(1));
        Ok(())
    }

    fn token_ids(&mut self) -> Result<u64, Wrong> {
        self.array()?;
        let mut count = 0_u64;
        while self.reader.next_item()? {
            self.token_id().map_err(|wrong| wrong.under(count))?;
            count += 1;
        }
        if count == 0 { Err(Wrong::here("at least one token id", "none")) } else { Ok(count) }
    }

    fn token_id(&mut self) -> Result<(), Wrong> {
        const EXPECTED: &str = "a token id";
        let kind = self.reader.peek()?;
        if kind != Kind::Number {
            return Err(Wrong::here(EXPECTED, kind.name()));
        }
        let number = self.reader.number()?;
        let fits = number.integer.and_then(Integer::unsigned).is_some_and(|id| u32::try_from(id).is_ok());
        if fits { Ok(()) } else { Err(Wrong::here(EXPECTED, number.text)) }
    }

    /// `{"text": "…"}`
    fn text_object(&mut self, role: Role) -> Result<(), Wrong> {
        self.object()?;
        let mut found = false;
        while let Some(key) = self.reader.next_key()? {
            match &*key {
                "text" => {
                    found = true;
                    self.string(role).map_err(|wrong| wrong.under("text"))?;
                }
                _ => self.reader.skip()?,
            }
        }
        if found { Ok(()) } else { Err(Wrong::here("a member `text`", "none")) }
    }

    /// A text where only a string may stand.
    pub(in crate::protocol) fn string(&mut self, role: Role) -> Result<(), Wrong> {
        match self.reader.peek()? {
            Kind::String => self.prompt(role),
            kind => Err(Wrong::here(Kind::String.name(), kind.name())),
        }
    }

    /// A text that the model will read.
    pub(in crate::protocol) fn prompt(&mut self, role: Role) -> Result<(), Wrong> {
        let start = self.reader.at();
        let text = self.reader.string()?;
        let at = start..self.reader.at();
        self.request.prompts.push(Prompt { role, text: text.into(), at });
        Ok(())
    }
}
