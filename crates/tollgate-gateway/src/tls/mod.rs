//! TLS at the listeners: certificates by SNI, replaced while connections run; client certificates, likewise.

pub mod ca;
mod mtls;
mod reception;
mod table;

pub use mtls::{Roots, Trusts, verifier};
pub use reception::{Reception, Shaken};
pub use table::{CertTable, Certified, Speaks, client_config, server_config};
