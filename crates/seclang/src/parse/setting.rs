//! Reads settings: directives with one value and no rules in it.

use super::action::number;
use super::ast::{EngineMode, LimitAction, Setting};
use super::lexer::Word;
use super::report::Report;
use super::target::shortened;
use super::text::View;
use crate::problem::Place;

/// The setting of that name; `None` when its value is wrong or it changes nothing.
pub(crate) fn setting(name: &'static str, place: &Place, words: &[Word], report: &mut Report) -> Option<Setting> {
    if name == "SecResponseBodyMimeType" {
        return mime_types(place, words, report);
    }
    if name == "SecResponseBodyMimeTypesClear" {
        super::directive::no_more(words, report);
        return Some(Setting::ResponseBodyMimeType(Vec::new()));
    }
    let [value, rest @ ..] = words else {
        report.error(place, format!("`{name}` needs a value")).hint("write it behind the name");
        return None;
    };
    super::directive::no_more(rest, report);
    one(name, value.view(), report)
}

fn one(name: &'static str, value: View<'_>, report: &mut Report) -> Option<Setting> {
    let text = || value.as_str().to_owned();
    Some(match name {
        "SecArgumentSeparator" => Setting::ArgumentSeparator(separator(value, report)?),
        "SecArgumentsLimit" => Setting::ArgumentsLimit(number(name, value, 0..=u64::MAX, report)?),
        "SecCollectionTimeout" => Setting::CollectionTimeout(number(name, value, 0..=u64::MAX, report)?),
        "SecComponentSignature" => Setting::ComponentSignature(text()),
        "SecCookieFormat" => return cookie_format(value, report),
        "SecParseXmlIntoArgs" => {
            xml_into_args(value, report);
            return None;
        }
        "SecRequestBodyAccess" => Setting::RequestBodyAccess(switch(value, report)?),
        "SecRequestBodyJsonDepthLimit" => {
            Setting::RequestBodyJsonDepthLimit(number(name, value, 1..=u64::MAX, report)?)
        }
        "SecRequestBodyLimit" => Setting::RequestBodyLimit(bytes(name, value, report)?),
        "SecRequestBodyLimitAction" => Setting::RequestBodyLimitAction(limit_action(value, report)?),
        "SecRequestBodyNoFilesLimit" => Setting::RequestBodyNoFilesLimit(bytes(name, value, report)?),
        "SecResponseBodyAccess" => Setting::ResponseBodyAccess(switch(value, report)?),
        "SecResponseBodyLimit" => Setting::ResponseBodyLimit(bytes(name, value, report)?),
        "SecResponseBodyLimitAction" => Setting::ResponseBodyLimitAction(limit_action(value, report)?),
        "SecRuleEngine" => Setting::RuleEngine(engine_mode(value, report)?),
        "SecWebAppId" => Setting::WebAppId(text()),
        "SecXmlExternalEntity" => {
            if switch(value, report)? {
                report
                    .error(&value.place(), "external entities are never loaded (XXE)")
                    .hint("write `SecXmlExternalEntity Off`");
            }
            return None;
        }
        _ => return None,
    })
}

/// `On` or `Off`
pub(crate) fn switch(value: View<'_>, report: &mut Report) -> Option<bool> {
    match value.as_str().to_ascii_lowercase().as_str() {
        "on" => Some(true),
        "off" => Some(false),
        _ => {
            wrong(value, report).hint("write `On` or `Off`");
            None
        }
    }
}

/// `On`, `Off` or `DetectionOnly`
pub(crate) fn engine_mode(value: View<'_>, report: &mut Report) -> Option<EngineMode> {
    match value.as_str().to_ascii_lowercase().as_str() {
        "detectiononly" => Some(EngineMode::DetectionOnly),
        "off" => Some(EngineMode::Off),
        "on" => Some(EngineMode::On),
        _ => {
            wrong(value, report).hint("write `On`, `Off` or `DetectionOnly`");
            None
        }
    }
}

fn limit_action(value: View<'_>, report: &mut Report) -> Option<LimitAction> {
    match value.as_str().to_ascii_lowercase().as_str() {
        "processpartial" => Some(LimitAction::ProcessPartial),
        "reject" => Some(LimitAction::Reject),
        _ => {
            wrong(value, report).hint("write `Reject` or `ProcessPartial`");
            None
        }
    }
}

fn bytes(name: &'static str, value: View<'_>, report: &mut Report) -> Option<u64> {
    let text = value.as_str();
    let unit = text.trim_start_matches(|char: char| char.is_ascii_digit());
    if unit.len() < text.len() && matches!(unit.to_ascii_lowercase().as_str(), "k" | "kb" | "m" | "mb" | "g" | "gb") {
        report
            .error(&value.place(), format!("`{name}` counts bytes and knows no units"))
            .hint("write the number of bytes, as `131072` for 128 KiB");
        return None;
    }
    number(name, value, 0..=u64::MAX, report)
}

fn separator(value: View<'_>, report: &mut Report) -> Option<u8> {
    match value.as_str().as_bytes() {
        [byte] => Some(*byte),
        _ => {
            wrong(value, report).hint("write one ASCII character, as `&` or `;`");
            None
        }
    }
}

fn cookie_format(value: View<'_>, report: &mut Report) -> Option<Setting> {
    match value.as_str() {
        "0" => {}
        "1" => report
            .warn(&value.place(), "version 1 cookies are read like those of version 0")
            .hint("write `SecCookieFormat 0`: browsers send no others"),
        _ => wrong(value, report).hint("write `0`"),
    }
    None
}

/// `Off`: rules that look at `XML:/*` see all there is.
pub(crate) fn xml_into_args(value: View<'_>, report: &mut Report) -> bool {
    let off = value.as_str().eq_ignore_ascii_case("off");
    if !off {
        report
            .error(&value.place(), "XML is not turned into arguments")
            .hint("write `Off`, and look at `XML:/*` in your rules");
    }
    off
}

fn mime_types(place: &Place, words: &[Word], report: &mut Report) -> Option<Setting> {
    let mut types = Vec::new();
    for word in words {
        for name in word.view().as_str().split_ascii_whitespace() {
            if !name.contains('/') && name != "(null)" {
                wrong(word.view(), report).hint("write media types, as `text/html application/json`");
            }
            types.push(name.to_owned());
        }
    }
    if types.is_empty() {
        report.error(place, "`SecResponseBodyMimeType` needs a value").hint("name at least one media type");
        return None;
    }
    Some(Setting::ResponseBodyMimeType(types))
}

fn wrong<'r>(value: View<'_>, report: &'r mut Report) -> super::report::Reported<'r> {
    report.error(&value.place(), format!("`{}` is no value here", shortened(value.as_str())))
}
