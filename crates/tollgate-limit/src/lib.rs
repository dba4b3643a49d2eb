#![doc = include_str!("../README.md")]

mod book;
mod calendar;
mod central;
mod charge;
mod direct;
mod fair;
mod gauge;
mod gcra;
mod inflight;
mod key;
mod lease;
mod ledger;
mod memory;
mod quota;
mod rates;
mod slots;
mod state;
mod sync;
mod table;
mod window;

pub use calendar::{Calendar, Every, Moment, Period, UnknownZone};
pub use central::{Act, Bound, Central, Demand, Standing};
pub use charge::{Charge, Granted, Limit, MAX_LEVELS, Mode, Over, Reservation};
pub use fair::{Applicant, Bill, Dropped, FairConfig, FairQueue, Overload, Priority, Started, Ticket};
pub use gauge::{Gauges, Place};
pub use gcra::{Level, Rate, Taken, Tick};
pub use inflight::{Inflight, InflightConfig, Ran};
pub use key::{Key, KeyClass, hash_key};
pub use lease::{Lease, LeaseTime, Spent, Terms, Without};
pub use ledger::{Ledger, LedgerFault};
pub use memory::{Counters, Memory, MemoryConfig};
pub use quota::Quota;
pub use rates::RateState;
pub use state::{QuotaLog, Restored, StateError};
pub use window::Window;
