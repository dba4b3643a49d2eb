//! From the accepted socket to the codec.

pub mod accept;
pub mod ahead;
pub mod chunked;
pub mod flaw;
pub mod h1;
mod h2;
pub mod head;
pub mod heads;
mod kinds;
mod line;
pub mod proxy_protocol;
pub mod streams;
pub mod wire;

#[cfg(test)]
#[path = "../../tests/framing/cases.rs"]
mod cases;
