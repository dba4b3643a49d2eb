#![doc = include_str!("../README.md")]

mod direct;
mod gcra;
mod key;
mod ledger;
mod memory;
mod slots;
mod table;

pub use gcra::{Level, Rate, Taken, Tick};
pub use key::{Key, KeyClass, hash_key};
pub use ledger::{Charge, Granted, Ledger, LedgerFault};
pub use memory::{Counters, Memory, MemoryConfig};
