//! The configuration file: read, parse, include, check the shape, load; every mistake at once, each with its place.
//!
//! Everything here is generic over the type that is loaded: `load` takes any `T: DeserializeOwned + JsonSchema`, and
//! what a key means is no business of this module. The order is
//!
//! 1. `text`: bytes to text; refuses what is not UTF-8, NUL bytes, a byte order mark;
//! 2. `parse`: text to a tree in which every key and value knows its place; refuses anchors, aliases, merge keys,
//!    tags, directives, further documents and duplicate keys; keeps the budgets; fills in `${NAME}` (`env`);
//! 3. `include`: merges the files that `include:` names, one level deep;
//! 4. `shape`: checks the whole tree against the JSON Schema generated from `T` and collects every violation;
//! 5. serde fills `T` from the tree. What it still refuses comes from `TryFrom` implementations alone.
//!
//! Checks of meaning (does this upstream exist?) come afterwards from the owner of `T`, as `Problem`s with paths;
//! [`Places`] turns them into `file:line:column`.
//!
//! What YAML means here: YAML 1.2 with the core types, narrowed. `true` and `false` are the only booleans; numbers with
//! a leading zero, `.inf` and `.nan` are texts, never numbers. A text is never taken for a number or the other way
//! round: `"8443"` is a string and `8443` is an integer.
//!
//! # `${NAME}` and `${NAME:-default}`
//!
//! - They are filled in within scalar values, after parsing: a value can never add keys or items.
//! - `${NAME}` needs the variable to be set (it may be empty); `${NAME:-default}` takes the default when the variable is
//!   unset or empty, as a shell does. A default is plain text up to the next `}`.
//! - A plain scalar is typed after it was filled in (`port: ${PORT}` is an integer); a quoted one stays a string.
//! - `$${` stands for a literal `${`. A `$` before anything else is itself, so regular expressions need no escape.
//! - Within `{…}` and `[…]` a scalar that holds `${…}` must be quoted, as YAML ends a plain one at the `}`; a number or
//!   boolean from the environment therefore stands in block style.
//! - Keys are never filled in, nor are secret references; both are refused where they contain `${`.
//! - No message ever shows what a variable holds: it shows the `${…}` that was written.
//!
//! # Why the parser's events, and a checker of our own
//!
//! A tree joined from several files, with values filled in, has no text that a YAML deserialiser could read: the tree is
//! built from the events of `granit-parser` and handed to serde as it is. A general JSON Schema validator says that a
//! value is "not valid under any of the schemas" and knows neither secrets nor `${…}`; it serves as the oracle of ours in
//! the tests.
//!
//! # `include`
//!
//! A list of files relative to the including file, at the root of the main file only. `*` matches within a file name.
//! Named entries of mappings are merged, root lists are appended in the order of the patterns and, within one pattern,
//! of the file names. Anything else that two files write is an error that cites both places. A file that is named and
//! missing is an error; a pattern with `*` that matches nothing is a warning, as an empty `tenants/` is no mistake.

mod backends;
mod caching;
mod compile;
mod dial;
mod disk;
pub mod document;
mod env;
mod format;
mod include;
mod keyfile;
mod load;
mod meant;
mod nearest;
pub mod oauth;
mod openapi;
mod operator;
mod parse;
mod place;
#[cfg(feature = "cedar")]
mod policies;
mod presets;
mod report;
mod rules;
mod scalar;
mod schema;
mod secret_ref;
mod shape;
mod text;
mod tls;
mod tree;
mod union;
mod units;
pub mod versions;
mod words;

#[cfg(test)]
mod tests;

pub use backends::EndpointConfig;
pub use compile::{Compiled, compile};
pub(crate) use compile::{endpoint, is_endpoint};
pub(crate) use dial::{Address, dial};
pub(crate) use disk::read_up_to;
pub use disk::{list_directory, read_file};
pub use document::{Config, EmbeddedConfig, HeadChecks, HttpConfig, ProxyProtocol, Serves};
pub use format::Unfit;
pub(crate) use keyfile::read as read_keys;
pub use keyfile::{KeyDesk, Saved};
pub use load::{Loaded, Sources, load};
pub use meant::load_config;
pub use operator::OperatorDesk;
pub use place::Places;
#[cfg(feature = "cedar")]
pub use policies::PolicyDesk;
pub use presets::Opened;
pub use report::{Located, Report};
pub use rules::RuleFiles;
pub use schema::schema;
pub use secret_ref::SecretRef as SecretSource;
pub use tls::TlsVersion;
pub use units::{ByteSize, DurationText};
