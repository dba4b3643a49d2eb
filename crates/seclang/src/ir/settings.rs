//! What the rule files say about the engine itself.

use crate::parse::ast::{EngineMode, LimitAction, Setting};
use crate::transforms::Tables;

/// Settings, the defaults being those of an embedder that gives a body only when it wants it judged.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) mode: EngineMode,
    pub(crate) request_body: bool,
    pub(crate) request_body_limit: Option<u64>,
    pub(crate) request_no_files_limit: Option<u64>,
    pub(crate) request_limit_action: LimitAction,
    pub(crate) json_depth: Option<u64>,
    pub(crate) arguments: Option<u64>,
    pub(crate) reply_body: bool,
    pub(crate) reply_body_limit: u64,
    pub(crate) reply_limit_action: LimitAction,
    pub(crate) reply_types: Vec<String>,
    /// The rules named some of them: they are no longer the defaults.
    reply_types_named: bool,
    pub(crate) tables: Tables,
    pub(crate) separator: u8,
    pub(crate) collection_timeout: u64,
    pub(crate) web_app_id: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: EngineMode::On,
            request_body: true,
            request_body_limit: None,
            request_no_files_limit: None,
            request_limit_action: LimitAction::Reject,
            json_depth: None,
            arguments: None,
            reply_body: true,
            reply_body_limit: 512 * 1024,
            reply_limit_action: LimitAction::ProcessPartial,
            reply_types: ["text/plain", "text/html", "text/xml", "application/json"].map(str::to_owned).to_vec(),
            reply_types_named: false,
            tables: Tables::default(),
            separator: b'&',
            collection_timeout: 3600,
            web_app_id: "default".to_owned(),
        }
    }
}

impl Settings {
    /// Takes one setting; later ones win, but for the media types of replies, which add up.
    pub(crate) fn take(&mut self, setting: &Setting) {
        match setting {
            Setting::RuleEngine(mode) => self.mode = *mode,
            Setting::RequestBodyAccess(on) => self.request_body = *on,
            Setting::RequestBodyLimit(bytes) => self.request_body_limit = Some(*bytes),
            Setting::RequestBodyNoFilesLimit(bytes) => self.request_no_files_limit = Some(*bytes),
            Setting::RequestBodyLimitAction(action) => self.request_limit_action = *action,
            Setting::RequestBodyJsonDepthLimit(depth) => self.json_depth = Some(*depth),
            Setting::ArgumentsLimit(most) => self.arguments = Some(*most),
            Setting::ResponseBodyAccess(on) => self.reply_body = *on,
            Setting::ResponseBodyLimit(bytes) => self.reply_body_limit = *bytes,
            Setting::ResponseBodyLimitAction(action) => self.reply_limit_action = *action,
            Setting::ResponseBodyMimeType(types) => self.add_reply_types(types),
            Setting::UnicodeMap(map) => self.tables = Tables::with_unicode(map.clone()),
            Setting::ArgumentSeparator(byte) => self.separator = *byte,
            Setting::CollectionTimeout(seconds) => self.collection_timeout = *seconds,
            Setting::ComponentSignature(_) => {}
            Setting::WebAppId(id) => self.web_app_id.clone_from(id),
        }
    }

    /// The first list takes the place of the defaults, later ones are added; an empty one clears.
    fn add_reply_types(&mut self, types: &[String]) {
        if types.is_empty() || !self.reply_types_named {
            self.reply_types.clear();
        }
        self.reply_types_named = true;
        for kind in types {
            if !self.reply_types.contains(kind) {
                self.reply_types.push(kind.clone());
            }
        }
    }

    /// Whether phase 4 reads a reply of this media type.
    pub(crate) fn reads_reply(&self, content_type: &[u8]) -> bool {
        self.reply_body && self.reads_type(content_type)
    }

    /// Whether the media type is one that phase 4 is for.
    pub(crate) fn reads_type(&self, content_type: &[u8]) -> bool {
        let media = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        self.reply_types.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(media))
    }
}
