//! Reads from an ONNX file what the engine does not tell, and refuses what would harm it.
//!
//! The engine shows an INT64 input as 32 bits, so names, types and dimensions come from here. On the way the whole
//! structure that the engine will decode is walked with bounds. Weights are not read, and no operator is judged.

use std::collections::HashSet;

use tollgate_core::backend::{Dim, Port};
use tollgate_core::call::Dtype;

use crate::error::LoadError;
use crate::wire::{Field, Message, WireError};

/// Messages may nest this deep: a subgraph is four levels (graph, node, attribute, graph).
const MAX_DEPTH: u32 = 32;
/// Nodes, initializers and value infos of all graphs together.
const MAX_ITEMS: u64 = 1_000_000;
/// Inputs, and outputs, of the model.
const MAX_PORTS: usize = 256;
/// Dimensions of an input or output, as in every dialect of the gateway.
const MAX_RANK: usize = 8;
/// Bytes of the name of an input, an output or a dimension.
const MAX_NAME: usize = 256;

/// The inputs and outputs that the file declares.
pub(crate) struct Ports {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
}

/// Walks `file` and returns its ports.
pub(crate) fn read(file: &[u8]) -> Result<Ports, LoadError> {
    let mut walk = Walk { items: 0 };
    let mut graph = None;
    let mut model = Message::new(file);
    while let Some((number, field)) = model.next()? {
        match (number, field) {
            // Protocol buffers merge a message that stands twice; the engine takes the last. Nobody writes that.
            (7, Field::Bytes(_)) if graph.is_some() => return Err(LoadError::format("two graphs in one file")),
            (7, Field::Bytes(bytes)) => graph = Some(walk.graph(bytes, 1)?),
            (8 | 14, Field::Bytes(bytes)) => walk.flat(bytes)?,
            (7 | 8 | 14, _) => return Err(LoadError::format("a message has the wrong wire type")),
            _ => {}
        }
    }
    let graph = graph.ok_or_else(|| LoadError::format("no graph in the file"))?;
    // Before IR version 4 weights were listed as inputs too.
    let inputs = graph.inputs.into_iter().filter(|info| !graph.constants.contains(info.name));
    Ok(Ports { inputs: ports(inputs, true)?, outputs: ports(graph.outputs.into_iter(), false)? })
}

/// One walk over a file, with what it has counted so far.
struct Walk {
    items: u64,
}

/// What the outermost graph declares.
#[derive(Default)]
struct Graph<'a> {
    inputs: Vec<ValueInfo<'a>>,
    outputs: Vec<ValueInfo<'a>>,
    constants: HashSet<&'a str>,
}

/// An input or output as declared.
#[derive(Default)]
struct ValueInfo<'a> {
    name: &'a str,
    elem_type: Option<u64>,
    dims: Option<Vec<Dimension<'a>>>,
}

/// One dimension as declared.
#[derive(Clone, Copy, Default)]
struct Dimension<'a> {
    value: Option<u64>,
    symbol: &'a str,
}

impl Walk {
    fn graph<'a>(&mut self, bytes: &'a [u8], depth: u32) -> Result<Graph<'a>, LoadError> {
        let mut graph = Graph::default();
        let mut fields = Message::new(bytes);
        while let Some((number, field)) = fields.next()? {
            let Field::Bytes(bytes) = field else {
                if matches!(number, 1 | 5 | 11 | 12 | 13) {
                    return Err(LoadError::format("a message has the wrong wire type"));
                }
                continue;
            };
            match number {
                1 => self.node(bytes, depth + 1)?,
                5 => {
                    graph.constants.insert(self.tensor(bytes, depth + 1)?);
                }
                11 => graph.inputs.push(self.value_info(bytes, depth + 1)?),
                12 => graph.outputs.push(self.value_info(bytes, depth + 1)?),
                13 => {
                    self.value_info(bytes, depth + 1)?;
                }
                _ => {}
            }
        }
        Ok(graph)
    }

    fn node(&mut self, bytes: &[u8], depth: u32) -> Result<(), LoadError> {
        self.enter(depth)?;
        let mut fields = Message::new(bytes);
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                (5, Field::Bytes(attribute)) => self.attribute(attribute, depth + 1)?,
                (5, _) => return Err(LoadError::format("an attribute has the wrong wire type")),
                _ => {}
            }
        }
        Ok(())
    }

    fn attribute(&mut self, bytes: &[u8], depth: u32) -> Result<(), LoadError> {
        self.enter(depth)?;
        let mut fields = Message::new(bytes);
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                (5, Field::Bytes(tensor)) => {
                    self.tensor(tensor, depth + 1)?;
                }
                (6, Field::Bytes(graph)) => {
                    self.graph(graph, depth + 1)?;
                }
                (5 | 6, _) => return Err(LoadError::format("an attribute has the wrong wire type")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the tensor's name.
    fn tensor<'a>(&mut self, bytes: &'a [u8], depth: u32) -> Result<&'a str, LoadError> {
        self.enter(depth)?;
        let mut name = "";
        let mut elements = Some(1_u64);
        let mut fields = Message::new(bytes);
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                (1, Field::Varint(dim)) => elements = elements.and_then(|count| count.checked_mul(dim)),
                // The engine's reader would leave the rest of a broken list to be read as the next field.
                (4, Field::Bytes(packed)) if packed.len() % 4 != 0 => return Err(WireError::Cut.into()),
                (10, Field::Bytes(packed)) if packed.len() % 8 != 0 => return Err(WireError::Cut.into()),
                (5 | 7, Field::Bytes(packed)) => Message::new(packed).packed_varints()?,
                (8, Field::Bytes(text)) => name = utf8(text)?,
                (13, _) | (14, Field::Varint(1)) => {
                    return Err(LoadError::format("weights in another file are not supported"));
                }
                _ => {}
            }
        }
        // An element takes half a byte at least, so a larger claim is a lie that only costs memory.
        let room = u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_mul(2);
        match elements {
            Some(count) if count <= room => Ok(name),
            _ => Err(LoadError::format("a tensor claims more elements than it has bytes")),
        }
    }

    fn value_info<'a>(&mut self, bytes: &'a [u8], depth: u32) -> Result<ValueInfo<'a>, LoadError> {
        self.enter(depth)?;
        let mut info = ValueInfo::default();
        let mut fields = Message::new(bytes);
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                (1, Field::Bytes(text)) => info.name = name(text)?,
                (2, Field::Bytes(kind)) => self.value_type(kind, &mut info, depth + 1)?,
                (1 | 2, _) => return Err(LoadError::format("a value has the wrong wire type")),
                _ => {}
            }
        }
        Ok(info)
    }

    fn value_type<'a>(&mut self, bytes: &'a [u8], info: &mut ValueInfo<'a>, depth: u32) -> Result<(), LoadError> {
        self.enter(depth)?;
        let mut fields = Message::new(bytes);
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                (1, Field::Bytes(tensor)) => tensor_type(tensor, info)?,
                (4, Field::Bytes(sequence)) => self.sequence_type(sequence, depth + 1)?,
                (1 | 4, _) => return Err(LoadError::format("a type has the wrong wire type")),
                _ => {}
            }
        }
        Ok(())
    }

    fn sequence_type(&mut self, bytes: &[u8], depth: u32) -> Result<(), LoadError> {
        let mut fields = Message::new(bytes);
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                // What a sequence holds is no port of ours.
                (1, Field::Bytes(inner)) => self.value_type(inner, &mut ValueInfo::default(), depth + 1)?,
                (1, _) => return Err(LoadError::format("a type has the wrong wire type")),
                _ => {}
            }
        }
        Ok(())
    }

    fn flat(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.enter(1)?;
        let mut fields = Message::new(bytes);
        while fields.next()?.is_some() {}
        Ok(())
    }

    fn enter(&mut self, depth: u32) -> Result<(), LoadError> {
        self.items += 1;
        if depth > MAX_DEPTH {
            return Err(LoadError::Large { what: "the nesting of messages", bound: MAX_DEPTH.into() });
        }
        if self.items > MAX_ITEMS {
            return Err(LoadError::Large { what: "the number of parts", bound: MAX_ITEMS });
        }
        Ok(())
    }
}

fn tensor_type<'a>(bytes: &'a [u8], info: &mut ValueInfo<'a>) -> Result<(), LoadError> {
    let mut fields = Message::new(bytes);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Varint(elem_type)) => info.elem_type = Some(elem_type),
            (2, Field::Bytes(shape)) => info.dims = Some(dimensions(shape)?),
            (1 | 2, _) => return Err(LoadError::format("a tensor type has the wrong wire type")),
            _ => {}
        }
    }
    Ok(())
}

fn dimensions(shape: &[u8]) -> Result<Vec<Dimension<'_>>, LoadError> {
    let mut dims = Vec::new();
    let mut fields = Message::new(shape);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(_)) if dims.len() == MAX_RANK => {
                return Err(LoadError::Large { what: "the rank of a value", bound: MAX_RANK as u64 });
            }
            (1, Field::Bytes(bytes)) => dims.push(dimension(bytes)?),
            (1, _) => return Err(LoadError::format("a dimension has the wrong wire type")),
            _ => {}
        }
    }
    Ok(dims)
}

fn dimension(bytes: &[u8]) -> Result<Dimension<'_>, LoadError> {
    let mut dim = Dimension::default();
    let mut fields = Message::new(bytes);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Varint(value)) => dim.value = Some(value),
            (2, Field::Bytes(text)) => dim.symbol = name(text)?,
            (1 | 2, _) => return Err(LoadError::format("a dimension has the wrong wire type")),
            _ => {}
        }
    }
    Ok(dim)
}

fn ports<'a>(infos: impl Iterator<Item = ValueInfo<'a>>, need_shape: bool) -> Result<Vec<Port>, LoadError> {
    let mut ports: Vec<Port> = Vec::new();
    for info in infos {
        if ports.len() == MAX_PORTS {
            return Err(LoadError::Large { what: "the number of inputs or outputs", bound: MAX_PORTS as u64 });
        }
        if info.name.is_empty() || ports.iter().any(|port| *port.name == *info.name) {
            return Err(LoadError::format("an input or output has no name of its own"));
        }
        ports.push(port(info, need_shape)?);
    }
    if ports.is_empty() { Err(LoadError::format("no inputs or no outputs")) } else { Ok(ports) }
}

fn port(info: ValueInfo<'_>, need_shape: bool) -> Result<Port, LoadError> {
    let dtype = dtype(info.elem_type.unwrap_or_default())
        .map_err(|dtype| LoadError::Type { port: info.name.to_owned(), dtype })?;
    if need_shape && info.dims.is_none() {
        return Err(LoadError::format(format!("the input `{}` has no shape", info.name)));
    }
    let dims = info.dims.unwrap_or_default();
    let dims = dims.into_iter().enumerate().map(|(axis, dim)| port_dim(info.name, axis, dim));
    Ok(Port { name: info.name.into(), dtype, dims: dims.collect::<Result<_, _>>()? })
}

fn port_dim(port: &str, axis: usize, dim: Dimension<'_>) -> Result<Dim, LoadError> {
    match dim.value {
        // The value is a signed number; -1 reads as more than i64 can hold.
        Some(value) if value == 0 || i64::try_from(value).is_err() => {
            Err(LoadError::format(format!("dimension {axis} of `{port}` is not a size")))
        }
        Some(value) => Ok(Dim::Fixed(value)),
        None if dim.symbol.is_empty() => Ok(Dim::Symbolic(format!("{port}_{axis}").into())),
        None => Ok(Dim::Symbolic(dim.symbol.into())),
    }
}

/// The types that pass through the engine without loss: it holds FP32, 32-bit and 8-bit integers.
fn dtype(elem_type: u64) -> Result<Dtype, String> {
    match elem_type {
        1 => Ok(Dtype::Fp32),
        2 => Ok(Dtype::Uint8),
        3 => Ok(Dtype::Int8),
        6 => Ok(Dtype::Int32),
        7 => Ok(Dtype::Int64),
        9 => Ok(Dtype::Bool),
        0 => Err("undefined".into()),
        8 => Err("STRING".into()),
        10 => Err("FLOAT16".into()),
        11 => Err("DOUBLE".into()),
        16 => Err("BFLOAT16".into()),
        other => Err(format!("number {other}")),
    }
}

fn name(bytes: &[u8]) -> Result<&str, LoadError> {
    if bytes.len() > MAX_NAME {
        return Err(LoadError::Large { what: "the length of a name", bound: MAX_NAME as u64 });
    }
    let text = utf8(bytes)?;
    if text.chars().any(char::is_control) {
        return Err(LoadError::format("a name has control characters"));
    }
    Ok(text)
}

fn utf8(bytes: &[u8]) -> Result<&str, LoadError> {
    str::from_utf8(bytes).map_err(|_| LoadError::format("a name is not UTF-8"))
}

#[cfg(test)]
mod tests;
