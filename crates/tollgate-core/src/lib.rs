//! The vocabulary of Tollgate: one word for each thing, shared by layers, gateway and models.
//!
//! No sockets, no clock of its own, no configuration format: plain values that every other crate can name.

pub mod backend;
pub mod check;
pub mod cost;
pub mod guard;
pub mod identity;
pub mod journal;
pub mod ruling;
pub mod secret;
pub mod stage;
pub mod time;

pub use tollgate_call as call;
