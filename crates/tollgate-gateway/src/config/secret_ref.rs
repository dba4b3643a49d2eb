//! References to secrets: `secret://file/PATH`, `secret://file:/ABSOLUTE/PATH`, `secret://env/NAME`,
//! `secret://systemd/NAME`, `secret://exec/NAME`, `secret://vault/MOUNT/PATH#FIELD`.
//!
//! Parses references; reads no secret. What is not a reference may be the secret itself, so no error and no `Debug` text
//! ever repeats any part of a refused value.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::format::Unfit;

/// Longest reference.
const LONGEST: usize = 4096;

/// Where a secret comes from.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SecretRef {
    /// `secret://env/NAME`: an environment variable, read once at start.
    Env {
        /// Name of the variable.
        name: String,
    },
    /// `secret://exec/NAME`: what a command of `secrets.exec` wrote when the gateway started.
    Exec {
        /// Name of the command.
        name: String,
    },
    /// `secret://file/PATH` or `secret://file:/PATH`: the content of a file.
    File {
        /// Absolute, or relative to the directory of the configuration file.
        path: PathBuf,
    },
    /// `secret://systemd/NAME`: a credential that systemd hands to the service.
    Systemd {
        /// Name of the credential.
        name: String,
    },
    /// `secret://vault/MOUNT/PATH#FIELD`: a field of what Vault or OpenBao keeps or makes there.
    Vault {
        /// Mount and path, with one `/` between any two parts.
        path: String,
        /// Name of the field.
        field: String,
    },
}

impl SecretRef {
    pub(super) const FORMAT: &str = "secret-ref";

    /// Reads a reference.
    ///
    /// # Errors
    /// When the text is no reference to a provider that exists; the error repeats nothing of it.
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        let Some(reference) = text.strip_prefix("secret://") else {
            return Err(unfit(
                "a literal secret is refused",
                "put it in a file beside the configuration and write `secret://file/NAME`",
            ));
        };
        if text.len() > LONGEST {
            return Err(unfit("the secret reference is too long", "4096 bytes are the most"));
        }
        if text.contains("${") {
            return Err(unfit("a secret reference takes no `${…}`", "write it out, so that `check` can see it"));
        }
        match reference.split_once('/') {
            Some(("env", name)) => variable(name),
            Some(("file", path)) => file(path, false),
            Some(("file:", path)) => file(path, true),
            Some(("exec", name)) => named(name, "command").map(|name| Self::Exec { name }),
            Some(("systemd", name)) => named(name, "credential").map(|name| Self::Systemd { name }),
            Some(("vault", rest)) => vault(rest),
            _ => Err(unfit(
                "the secret reference names no known provider",
                "write `secret://file/PATH`, or another of `env`, `systemd`, `vault`, `exec`",
            )),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env { name } => write!(f, "secret://env/{name}"),
            Self::Exec { name } => write!(f, "secret://exec/{name}"),
            Self::File { path } if path.is_absolute() => write!(f, "secret://file:{}", path.display()),
            Self::File { path } => write!(f, "secret://file/{}", path.display()),
            Self::Systemd { name } => write!(f, "secret://systemd/{name}"),
            Self::Vault { path, field } => write!(f, "secret://vault/{path}#{field}"),
        }
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A visitor of serde's own would repeat a number or a boolean in its message.
        let value =
            serde_json::Value::deserialize(deserializer).map_err(|_| custom("a secret reference is expected"))?;
        let text = value.as_str().ok_or_else(|| custom("a secret reference is expected"))?;
        Self::parse(text).map_err(custom)
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "SecretRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": Self::FORMAT,
            "pattern": "^secret://(env/[A-Za-z_][A-Za-z0-9_]*|file/[^/].*|file:/.+|(exec|systemd)/[A-Za-z0-9_.-]+|vault/[^/#]+/[^#]+#.+)$",
            "description": "Where a secret comes from: `secret://file/PATH` relative to the configuration file, \
                `secret://file:/ABSOLUTE/PATH`, `secret://env/NAME`, `secret://systemd/NAME`, `secret://exec/NAME`, or \
                `secret://vault/MOUNT/PATH#FIELD`. The secret itself never stands here.",
        })
    }
}

fn variable(name: &str) -> Result<SecretRef, Unfit> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(SecretRef::Env { name: name.to_owned() });
    }
    Err(unfit(
        "the secret reference names no environment variable",
        "write `secret://env/NAME`: letters, digits and `_`",
    ))
}

/// Commands and credentials have names without a path.
fn named(name: &str, what: &str) -> Result<String, Unfit> {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if (1..=128).contains(&name.len()) && name.bytes().all(fit) && !name.starts_with('.') {
        return Ok(name.to_owned());
    }
    Err(unfit(
        &format!("the secret reference names no {what}"),
        "1 to 128 of letters, digits, `_`, `-`, `.`, the first of them no `.`",
    ))
}

/// What is asked of a server must read there as it looks here: no part that steps up, no sign that a URL gives a meaning.
fn vault(rest: &str) -> Result<SecretRef, Unfit> {
    let hint = "write `secret://vault/MOUNT/PATH#FIELD`";
    let Some((path, field)) = rest.split_once('#') else {
        return Err(unfit("the secret reference names no field", hint));
    };
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~:@+=,".contains(&byte);
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(sign);
    if !path.contains('/') || !path.split('/').all(part) {
        return Err(unfit("the secret reference names no mount and path of Vault", hint));
    }
    if field.is_empty() || field.len() > 128 || !field.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(unfit("the secret reference names no field", hint));
    }
    Ok(SecretRef::Vault { path: path.to_owned(), field: field.to_owned() })
}

/// Refuses what would step out of the directory or read another way than it looks.
fn file(path: &str, absolute: bool) -> Result<SecretRef, Unfit> {
    if path.is_empty() {
        return Err(unfit("the secret reference names no file", "write `secret://file/PATH`"));
    }
    if path.contains(|c: char| c.is_control()) {
        return Err(unfit("the path of the secret holds a control character", "rename the file"));
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(unfit(
            "the path of the secret holds `..`, `.`, or an empty part",
            "write the plain path; an absolute one is `secret://file:/PATH`",
        ));
    }
    let path = if absolute { PathBuf::from(format!("/{path}")) } else { PathBuf::from(path) };
    Ok(SecretRef::File { path })
}

fn unfit(message: &str, hint: &str) -> Unfit {
    Unfit { message: message.to_owned(), hint: Some(hint.to_owned()) }
}

fn custom<E: serde::de::Error>(message: impl fmt::Display) -> E {
    E::custom(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_read_back_as_they_were_written() {
        for text in [
            "secret://env/API_KEY",
            "secret://exec/pass-1",
            "secret://file/vllm.key",
            "secret://file/keys/a b.key",
            "secret://file:/etc/x.key",
            "secret://systemd/vllm.key",
            "secret://vault/secret/team/vllm#key",
            "secret://vault/database/creds/role-1#password",
        ] {
            assert_eq!(SecretRef::parse(text).map(|r| r.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn nothing_of_a_refused_text_is_repeated() {
        for text in [
            "hunter2",
            "secret:hunter2",
            "SECRET://env/hunter2",
            "secret://hunter2",
            "secret://hunter2/x",
            "secret://env/hunter2 x",
            "secret://env/",
            "secret://env/1hunter2",
            "secret://file/",
            "secret://file:/",
            "secret://file//hunter2",
            "secret://file/../hunter2",
            "secret://file/hunter2/./x",
            "secret://file/hunter2//x",
            "secret://file:hunter2",
            "secret://file:/../hunter2",
            "secret://vault/hunter2",
            "secret://vault/hunter2#x",
            "secret://vault/kv/hunter2",
            "secret://vault/kv/hunter2#",
            "secret://vault/kv//hunter2#x",
            "secret://vault/kv/../hunter2#x",
            "secret://vault/kv/%2e%2e/hunter2#x",
            "secret://vault/kv/hunter2?list=true#x",
            "secret://vault/kv/x#hunter2#",
            "secret://exec/../hunter2",
            "secret://exec/hunter2 x",
            "secret://systemd/..",
            "secret://systemd/hunter2/x",
            "secret://systemd/.hunter2",
            "secret://file/hunter2\0",
            "secret://env/${hunter2}",
            "",
        ] {
            let Err(unfit) = SecretRef::parse(text) else { panic!("{text} was accepted") };
            assert!(!format!("{unfit:?}").contains("hunter2"), "{unfit:?}");
            let through_serde = serde_json::from_value::<SecretRef>(text.into()).map_err(|error| error.to_string());
            assert!(through_serde.is_err_and(|message| !message.contains("hunter2")), "{text}");
        }
    }

    #[test]
    fn a_number_in_the_place_of_a_reference_is_not_repeated_either() {
        let error = serde_json::from_value::<SecretRef>(4_242_424.into()).map_err(|error| error.to_string());
        assert_eq!(error, Err("a secret reference is expected".to_owned()));
    }
}
