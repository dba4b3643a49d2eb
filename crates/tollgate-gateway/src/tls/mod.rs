//! TLS at the listeners: certificates by SNI, replaced while connections run.

mod table;

pub use table::{CertTable, Certified, Speaks, client_config, server_config};
