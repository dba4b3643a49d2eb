//! What stands in the place of a client in a program that was built without one: the configuration is refused.

use std::convert::Infallible;
use std::time::Duration;

use tollgate_core::secret::Secret;
use tollgate_limit::Standing;

use super::{Changes, Charged, Claim, Connect, Records, Store, StoreFault};

/// There is none.
#[derive(Clone, Copy, Debug)]
pub struct Dial(Infallible);

impl Dial {
    /// Always refuses.
    ///
    /// # Errors
    /// That this program was built without the client.
    pub fn new(_: &Secret, _: Option<Vec<u8>>, _: bool, _: &str) -> Result<Self, String> {
        Err("cannot be used: this program was built without the feature `store`".to_owned())
    }
}

impl Dial {
    /// There is nobody to ask.
    pub async fn records(&self, _: u64) -> Result<Records, StoreFault> {
        match self.0 {}
    }

    /// There is nobody to tell.
    pub async fn change(&self, _: u64, _: &[(String, String)], _: &[String]) -> Result<Option<u64>, StoreFault> {
        match self.0 {}
    }

    /// There is nobody to hear.
    pub async fn changes(&self) -> Result<Changes, StoreFault> {
        match self.0 {}
    }
}

impl Connect for Dial {
    type Store = Self;

    async fn connect(&self) -> Result<Self, StoreFault> {
        match self.0 {}
    }
}

impl Store for Dial {
    async fn charge(&self, _: &[Claim]) -> Result<Charged, StoreFault> {
        match self.0 {}
    }

    async fn settle(&self, _: &[Claim]) -> Result<Vec<Standing>, StoreFault> {
        match self.0 {}
    }

    async fn heartbeat(&self, _: u64) -> Result<u32, StoreFault> {
        match self.0 {}
    }

    async fn read_levers(&self) -> Result<String, StoreFault> {
        match self.0 {}
    }

    async fn write_levers(&self, _: &str, _: &str, _: Duration) -> Result<bool, StoreFault> {
        match self.0 {}
    }

    async fn leave(&self, _: u64) -> Result<(), StoreFault> {
        match self.0 {}
    }
}
