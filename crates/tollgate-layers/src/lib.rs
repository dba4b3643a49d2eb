//! The layers of Tollgate: one folder each, of the same shape, holding a pure decision.
//!
//! A layer gets plain values and the time, and returns a ruling. Mode, failure policy, journal and metrics live in
//! `tollgate_core::guard`; sockets, files and clocks live in the gateway.

pub mod auth;
pub mod authz;
pub mod contract;
pub mod cost;
pub mod flood;
pub mod hygiene;
pub mod intake;
pub mod limits;
pub mod network;
pub mod output;
pub mod parse;
pub mod protocol;
pub mod routes;
pub mod waf;
