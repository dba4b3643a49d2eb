//! A loaded model: the backend of one entry under `models`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use rten::{NodeId, RunOptions, Value};
use tollgate_core::backend::{Backend, BoxFuture, Dim, Output, Port, Signature};
use tollgate_core::call::{Call, Dtype, Tensor};
use tollgate_core::ruling::Fault;
use tollgate_core::time::Clock;

use crate::convert::{Feed, answer, fault, feeds, text_length};
use crate::error::LoadError;
use crate::load::{LoadOptions, Loaded, load};
use crate::pool::{Pool, Worker};
use crate::range::PortRange;

/// A loaded model and the pool that runs it.
pub struct Model {
    runner: Arc<Runner>,
    pool: Arc<Pool>,
    clock: Clock,
    ranges: Vec<PortRange>,
}

impl Model {
    /// Loads an ONNX file.
    ///
    /// The file may be hostile: it is walked with bounds before the engine sees it, and the engine reads it on a
    /// thread that is watched. Memory is the one thing that is not bounded here: a model can ask for any amount when it
    /// runs. Load a file that you do not trust in a process of its own first, and pin its hash.
    ///
    /// # Errors
    /// Whatever [`LoadError`] lists.
    pub fn load(file: impl Into<Cow<'static, [u8]>>, options: LoadOptions) -> Result<Self, LoadError> {
        let Loaded { engine, ports } = load(file.into(), &options)?;
        if options.text && text_length(&ports.inputs).is_none() {
            return Err(LoadError::Text);
        }
        check_labels(&options.labels, &ports.outputs)?;
        let ranges = ranges(options.ranges, &ports.inputs);
        let signature = Signature {
            inputs: ports.inputs,
            outputs: ports.outputs,
            labels: options.labels,
            text: options.text,
            ranges: ranges.iter().map(PortRange::bounds).collect(),
        };
        let (inputs, outputs) = (engine.input_ids().to_vec(), engine.output_ids().to_vec());
        let runner = Arc::new(Runner { engine, inputs, outputs, signature });
        Ok(Self { runner, pool: options.pool, clock: options.clock, ranges })
    }

    /// Ranges of the inputs' values, for the contract: those given at load, and for every other integer input what the
    /// engine can hold. A value outside would end in a fault of ours and not in an answer about the input.
    #[must_use]
    pub fn ranges(&self) -> &[PortRange] {
        &self.ranges
    }

    /// Runs `call` on the compute thread that the caller is a job of; [`Backend::infer`] is this behind the queue.
    ///
    /// # Errors
    /// A fault of ours if the call does not fit the model or the engine fails.
    pub fn run_on(&self, worker: &Worker, call: &Call) -> Result<Vec<Tensor>, Fault> {
        let wanted = self.runner.wanted(&call.outputs)?;
        self.runner.run(feeds(&self.runner.signature, call)?, &wanted, worker)
    }
}

impl Backend for Model {
    fn signature(&self) -> &Signature {
        &self.runner.signature
    }

    fn ready(&self) -> bool {
        // A model is loaded before it exists, and its pool lives as long as it does.
        true
    }

    fn infer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Output, Fault>> {
        Box::pin(async move {
            let wanted = self.runner.wanted(&call.outputs)?;
            let feeds = feeds(&self.runner.signature, call)?;
            let (runner, clock) = (Arc::clone(&self.runner), self.clock.clone());
            let answered = self.pool.submit(move |worker| {
                let start = clock.now();
                let tensors = runner.run(feeds, &wanted, worker)?;
                let took = clock.now().since(start);
                Ok(Output { tensors, compute_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX) })
            })?;
            answered.await.map_err(|_gone| fault("the run of the model panicked"))?
        })
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("signature", &self.runner.signature).finish_non_exhaustive()
    }
}

/// What a compute thread needs of a model.
struct Runner {
    engine: rten::Model,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    signature: Signature,
}

impl Runner {
    /// Places of the outputs asked for; empty for all.
    fn wanted(&self, names: &[Box<str>]) -> Result<Vec<usize>, Fault> {
        let place = |name: &str| {
            let place = self.signature.outputs.iter().position(|port| *port.name == *name);
            place.ok_or_else(|| fault("the call asks for an output that the model does not have"))
        };
        names.iter().map(|name| place(name)).collect()
    }

    fn run(&self, feeds: Vec<Feed>, wanted: &[usize], worker: &Worker) -> Result<Vec<Tensor>, Fault> {
        let values: Vec<Value> = feeds.into_iter().map(Feed::into_value).collect::<Result<_, _>>()?;
        let inputs = self.inputs.iter().copied().zip(values.into_iter().map(Into::into)).collect();
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&worker.engine)));
        // Always all outputs: the engine keeps the plan of its last run, and a client must not make it plan anew.
        let values = self.engine.run(inputs, &self.outputs, Some(options)).map_err(fault)?;
        let mut tensors = Vec::with_capacity(values.len());
        for (place, (port, value)) in self.signature.outputs.iter().zip(values).enumerate() {
            if wanted.is_empty() || wanted.contains(&place) {
                tensors.push(answer(port, value)?);
            }
        }
        Ok(tensors)
    }
}

/// Labels name the columns of the first output.
fn check_labels(labels: &[Box<str>], outputs: &[Port]) -> Result<(), LoadError> {
    if labels.is_empty() {
        return Ok(());
    }
    let classes = match outputs.first().and_then(|port| port.dims.last()) {
        Some(Dim::Fixed(classes)) => *classes,
        _ => 0,
    };
    if labels.len() as u64 == classes { Ok(()) } else { Err(LoadError::Labels { labels: labels.len(), classes }) }
}

fn ranges(mut given: Vec<PortRange>, inputs: &[Port]) -> Vec<PortRange> {
    for port in inputs {
        if port.dtype == Dtype::Int64 && !given.iter().any(|range| range.input == port.name) {
            given.push(PortRange::between(port.name.clone(), i32::MIN.into(), i32::MAX.into()));
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_input_without_a_range_takes_what_the_engine_can_hold() {
        let port = |name: &str, dtype| Port { name: name.into(), dtype, dims: Vec::new() };
        let inputs = [port("a", Dtype::Int64), port("b", Dtype::Int64), port("c", Dtype::Fp32)];
        let given = PortRange::between("a", 0.0, 9.0);
        let wide = PortRange::between("b", -2_147_483_648.0, 2_147_483_647.0);
        assert_eq!(ranges(vec![given.clone()], &inputs), [given, wide]);
    }
}
