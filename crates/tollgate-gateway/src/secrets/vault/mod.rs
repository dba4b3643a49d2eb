//! `secret://vault/MOUNT/PATH#FIELD`: Vault and OpenBao, by the dozen endpoints that are needed of them, through the one guarded
//! way out.
//!
//! `line` is the connection and what it holds; `calls` is what is asked; `login` how we prove who we are; `term` when something
//! is due, as arithmetic. A value that was read serves until `max_stale` after the last good reading, a leased one until its
//! lease ends; then it is withdrawn, and what needs it is closed. No text of the server goes into any message.

mod answer;
mod calls;
mod config;
mod line;
mod login;
mod term;
mod wire;

pub use config::VaultConfig;
pub use line::{Known, Line};

pub(super) use config::Local;
use config::Plan;

#[cfg(test)]
mod tests;

use std::fmt;

/// Why something was not got.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// It cannot be reached, or has troubles of its own.
    Away(String),
    /// We may not (403).
    Forbidden,
    /// Something on our side is missing.
    Local(String),
    /// Nothing is there (404).
    Missing,
    /// It makes no sense to it (400 and others).
    Refused(u16),
    /// It is sealed (503).
    Sealed,
    /// The wrapping token of the secret id was used by somebody, or wraps something else.
    Spent,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) => write!(f, "Vault {why}"),
            Self::Forbidden => f.write_str("Vault forbids it (403)"),
            Self::Local(why) => f.write_str(why),
            Self::Missing => f.write_str("Vault has nothing there (404)"),
            Self::Refused(status) => write!(f, "Vault refuses it ({status})"),
            Self::Sealed => f.write_str("Vault is sealed"),
            Self::Spent => f.write_str(
                "the wrapping token was used before, or wraps no secret id: treat the secret id as stolen, and issue another",
            ),
        }
    }
}
