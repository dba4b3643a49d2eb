//! The gateway: the only crate that knows sockets.
//!
//! `pipeline` is the file to read first: the life of a request on one screen. `start` makes a running gateway of a
//! configuration file.

pub mod admin;
pub mod announce;
pub mod body;
pub mod cache;
pub mod compute;
pub mod config;
pub mod drift;
pub mod exchange;
pub mod fallback;
pub mod firewall;
pub mod flow;
pub mod inspect;
pub mod keep;
pub mod keys;
pub mod learned;
pub mod leave;
pub mod lenient;
pub mod listen;
pub mod observed;
pub mod pipeline;
pub mod problem;
pub mod quota;
pub mod reading;
pub mod record;
pub mod rehearsal;
pub mod release;
pub mod reply;
pub mod rpc;
pub mod secrets;
pub mod send;
pub mod snapshot;
pub mod start;
pub mod state;
pub mod statistics;
pub mod store;
pub mod tab;
pub mod talk;
pub mod tick;
pub mod tls;
pub mod turn;
pub mod upstream;
pub mod window;
pub mod worker;
