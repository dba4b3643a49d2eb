//! What socket tests are made of: a gateway in a test, fake model servers, a certificate authority, raw clients.
//!
//! Real sockets on loopback, free ports, and no sleep as synchronisation: [`until`] polls a condition against a
//! deadline. Everything fails loudly, with what it waited for. Never in the product.

pub mod ca;
pub mod client;
pub mod clients;
pub mod dial;
pub mod folder;
pub mod h2;
pub mod house;
pub mod process;
pub mod rpc;
pub mod server;
pub mod store;
pub mod vault;

use std::fmt::Display;
use std::time::Duration;

pub use ca::Ca;
pub use client::{Client, Reply};
pub use folder::Folder;
pub use h2::{H2Client, H2Reply};
pub use house::House;
pub use process::Process;
pub use rpc::{RpcServer, Step};
pub use server::{Act, Gate, ModelServer, Taken};
pub use store::StoreServer;
pub use vault::VaultServer;

/// How long anything that must happen may take: long enough for a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Polls `condition` until it holds.
///
/// # Panics
/// If it does not hold within [`PATIENCE`].
pub async fn until(what: impl Display, mut condition: impl FnMut() -> bool) {
    let began = tokio::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Awaits `work`, but not for ever.
///
/// # Panics
/// If it is not done within [`PATIENCE`].
pub async fn soon<T>(what: impl Display, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("waited in vain: {what}"),
    }
}
