//! Records of API keys in Valkey or Redis, beside the balances: read if they have changed, changed if nobody else has, and
//! told of at once. Says nothing of what a record means.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use redis::{FromRedisValue, Value, from_redis_value};

use super::valkey::{Dial, Reach, Valkey, fault, garbled};
use super::{Changes, Records, StoreFault};

/// Reads the version, and the records where it is another than the one that is known. Both at once: they belong together.
const READ: &str = "\
local version = redis.call('GET', KEYS[2])
if not version then return {} end
if version == ARGV[1] then return {version} end
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[2]) then return redis.error_reply('TOOMANY more keys than a gateway reads') end
return {version, redis.call('HVALS', KEYS[1])}";

/// Changes records where the version is still the one that was read, and tells everybody.
const CHANGE: &str = "\
if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[1] then return 0 end
local sets = tonumber(ARGV[2])
for i = 1, sets do redis.call('HSET', KEYS[1], ARGV[1 + 2 * i], ARGV[2 + 2 * i]) end
for i = 3 + 2 * sets, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
local version = redis.call('INCR', KEYS[2])
redis.call('PUBLISH', KEYS[2], version)
return version";

/// The most records that are read.
const MOST: usize = 100_000;

impl Valkey {
    /// The records, where their version is another than `known`.
    pub async fn records(&self, known: u64) -> Result<Records, StoreFault> {
        let mut command = redis::cmd("EVAL");
        command.arg(READ).arg(2).arg(self.names().as_slice()).arg(known).arg(MOST);
        let answer: Vec<Value> = self.ask(&command).await?;
        match answer.as_slice() {
            [] => Ok(Records::Never),
            [_] => Ok(Records::Same),
            [version, records] => {
                let records: Vec<String> = read(records)?;
                Ok(Records::Other { version: read::<u64>(version)?, records })
            }
            _ => Err(garbled()),
        }
    }

    /// Writes records by their ids and removes others; the new version, or `None` where somebody was here since `version`.
    pub async fn change(
        &self,
        version: u64,
        set: &[(String, String)],
        gone: &[String],
    ) -> Result<Option<u64>, StoreFault> {
        let mut command = redis::cmd("EVAL");
        command.arg(CHANGE).arg(2).arg(self.names().as_slice()).arg(version).arg(set.len());
        for (id, record) in set {
            command.arg(id).arg(record);
        }
        command.arg(gone);
        let version: u64 = self.ask(&command).await?;
        Ok(Some(version).filter(|version| *version > 0))
    }

    fn names(&self) -> [String; 2] {
        names(&self.namespace)
    }
}

impl Dial {
    /// Tells of each change of the records, as long as the connection holds; never, where the store is a cluster.
    pub async fn changes(&self) -> Result<Changes, StoreFault> {
        let Reach::One(client) = &self.client else { return Ok(Box::pin(futures_util::stream::pending())) };
        let mut ear = client.get_async_pubsub().await.map_err(fault)?;
        let [_, channel] = names(&self.namespace);
        ear.subscribe(channel).await.map_err(fault)?;
        let told: Pin<Box<dyn Stream<Item = ()> + Send>> = Box::pin(ear.into_on_message().map(drop));
        Ok(told)
    }
}

/// Records and version: in one slot of a cluster.
fn names(namespace: &str) -> [String; 2] {
    ["records", "version"].map(|what| format!("{namespace}:{{keys}}:1:{what}"))
}

fn read<T: FromRedisValue>(value: &Value) -> Result<T, StoreFault> {
    from_redis_value(value.clone()).map_err(|_| garbled())
}
