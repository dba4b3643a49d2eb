//! Plugs `tollgate-model` into the gateway, which names no inference engine.

use std::sync::Arc;

use parking_lot::Mutex;
use tollgate_core::backend::Backend;
use tollgate_core::time::Clock;
use tollgate_gateway::state::Embed;
use tollgate_model::{LoadOptions, Model, Pool, PoolOptions, catalog};

/// Opens ONNX models on one bounded pool of threads, which is started with the first of them.
#[derive(Default)]
pub(crate) struct Onnx {
    pool: Mutex<Option<Arc<Pool>>>,
}

impl Onnx {
    fn pool(&self) -> Result<Arc<Pool>, String> {
        let mut pool = self.pool.lock();
        if let Some(pool) = &*pool {
            return Ok(Arc::clone(pool));
        }
        let started = Pool::start(PoolOptions::default()).map_err(|error| error.to_string())?;
        *pool = Some(Arc::clone(&started));
        Ok(started)
    }
}

impl Embed for Onnx {
    fn shipped(&self, name: &str) -> Result<Arc<dyn Backend>, String> {
        let card = catalog::find(name).ok_or_else(|| {
            let names: Vec<_> = catalog::CARDS.iter().map(|card| format!("`{}`", card.name)).collect();
            format!("`{name}` is not a model that ships with the gateway: {}", names.join(", "))
        })?;
        let model = card.load(self.pool()?, Clock::real()).map_err(|error| error.to_string())?;
        Ok(Arc::new(model))
    }

    fn file(&self, bytes: Vec<u8>, sha256: Option<&str>, labels: &[String]) -> Result<Arc<dyn Backend>, String> {
        let mut options = LoadOptions::new(self.pool()?, Clock::real());
        options.labels = labels.iter().map(|label| label.as_str().into()).collect();
        options.sha256 = sha256.map(digest).transpose()?;
        let model = Model::load(bytes, options).map_err(|error| error.to_string())?;
        Ok(Arc::new(model))
    }
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("`{text}` is not a SHA-256 in hexadecimal");
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    for (i, byte) in digest.iter_mut().enumerate() {
        let pair = text.get(2 * i..2 * i + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}
