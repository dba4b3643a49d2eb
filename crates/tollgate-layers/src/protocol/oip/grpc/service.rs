//! The service `inference.GRPCInferenceService`: its methods, and those that are answered here.
//!
//! The methods for repositories, shared memory, settings and statistics are left out: what is not in [`Rpc`] does not
//! exist on a route of this protocol.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_core::backend::{Dim, Port, Signature};

use super::text;
use crate::protocol::Wrong;
use crate::protocol::name::check_name;
use crate::protocol::protobuf::{Fields, Writer, once};

/// What stands before the name of a method in a path.
pub const PATH: &str = "/inference.GRPCInferenceService/";

/// A method that is understood.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Rpc {
    /// One inference.
    ModelInfer,
    /// A model's inputs and outputs: answered here, from its contract.
    ModelMetadata,
    /// Whether a model is ready: answered here.
    ModelReady,
    /// Inferences and their answers, each message judged and charged by itself.
    ModelStreamInfer,
    /// Whether the server lives: answered here.
    ServerLive,
    /// The server's metadata: answered here.
    ServerMetadata,
    /// Whether the server is ready: answered here.
    ServerReady,
}

impl Rpc {
    /// Every method.
    pub const ALL: [Self; 7] = [
        Self::ModelInfer,
        Self::ModelMetadata,
        Self::ModelReady,
        Self::ModelStreamInfer,
        Self::ServerLive,
        Self::ServerMetadata,
        Self::ServerReady,
    ];

    /// The method that a path asks for.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let name = path.strip_prefix(PATH)?;
        Self::ALL.into_iter().find(|rpc| rpc.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ModelInfer => "ModelInfer",
            Self::ModelMetadata => "ModelMetadata",
            Self::ModelReady => "ModelReady",
            Self::ModelStreamInfer => "ModelStreamInfer",
            Self::ServerLive => "ServerLive",
            Self::ServerMetadata => "ServerMetadata",
            Self::ServerReady => "ServerReady",
        }
    }
}

/// A model that is asked about, and which version of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    /// `name`
    pub model: Box<str>,
    /// `version`; `None` where it is absent or empty.
    pub version: Option<Box<str>>,
}

/// Reads `ModelReadyRequest` or `ModelMetadataRequest`, which are alike.
///
/// # Errors
/// The first mistake.
pub fn named(message: &[u8]) -> Result<Named, Wrong> {
    let (mut model, mut version) = (None, None);
    let mut fields = Fields::new(message, 0);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => once(&mut model, text(&field)?, &field)?,
            2 => once(&mut version, text(&field)?, &field)?,
            _ => return Err(field.misfit()),
        }
    }
    let model = model.unwrap_or_default();
    check_name(&model).map_err(|wrong| wrong.under("name"))?;
    Ok(Named { model, version: version.filter(|version| !version.is_empty()) })
}

/// Reads `ServerLiveRequest`, `ServerReadyRequest` or `ServerMetadataRequest`, which are empty.
///
/// # Errors
/// It is not.
pub fn empty(message: &[u8]) -> Result<(), Wrong> {
    match Fields::new(message, 0).next()? {
        Some(field) => Err(field.misfit()),
        None => Ok(()),
    }
}

/// Writes `ServerLiveResponse`, `ServerReadyResponse` or `ModelReadyResponse`, which are alike.
#[must_use]
pub fn state(is_so: bool) -> Vec<u8> {
    let mut out = Writer::default();
    out.varint(1, u64::from(is_so));
    out.done()
}

/// Writes `ServerMetadataResponse`.
#[must_use]
pub fn server_metadata(version: &str) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes(1, b"tollgate");
    out.bytes(2, version.as_bytes());
    out.done()
}

/// Writes `ModelMetadataResponse`. A symbolic dimension is -1.
#[must_use]
pub fn model_metadata(name: &str, platform: &str, signature: &Signature) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes(1, name.as_bytes());
    out.bytes(3, platform.as_bytes());
    for (number, ports) in [(4, &signature.inputs), (5, &signature.outputs)] {
        for port in ports {
            out.bytes(number, &tensor_metadata(port));
        }
    }
    out.done()
}

fn tensor_metadata(port: &Port) -> Vec<u8> {
    let mut shape = Writer::default();
    for dim in &port.dims {
        shape.raw(match dim {
            Dim::Fixed(size) => *size,
            Dim::Symbolic(_) => (-1_i64).cast_unsigned(),
        });
    }
    let mut out = Writer::default();
    out.bytes(1, port.name.as_bytes());
    out.bytes(2, port.dtype.name().as_bytes());
    out.bytes(3, &shape.done());
    out.done()
}

#[cfg(test)]
mod tests {
    use tollgate_core::call::Dtype;

    use super::*;

    #[test]
    fn a_path_names_a_method_exactly() {
        for rpc in Rpc::ALL {
            assert_eq!(Rpc::of(&format!("{PATH}{}", rpc.name())), Some(rpc));
        }
        for path in [
            "/inference.GRPCInferenceService/RepositoryModelUnload",
            "/inference.GRPCInferenceService/modelinfer",
            "/inference.GRPCInferenceService/ModelInfer/",
            "/inference.GRPCInferenceService/",
            "/x/inference.GRPCInferenceService/ModelInfer",
            "/ModelInfer",
        ] {
            assert_eq!(Rpc::of(path), None, "{path}");
        }
    }

    #[test]
    fn questions_about_a_model_are_read_strictly() {
        assert_eq!(named(b"\x0a\x01m").expect("a name"), Named { model: "m".into(), version: None });
        assert_eq!(named(b"\x0a\x01m\x12\x013").expect("a name").version.as_deref(), Some("3"));
        assert_eq!(named(b"\x0a\x01m\x12\x00").expect("a name").version, None);
        for wrong in [&b""[..], b"\x0a\x00", b"\x0a\x01m\x0a\x01n", b"\x0a\x01m\x1a\x00", b"\x0a\x02m", b"\x08\x01"] {
            assert!(named(wrong).is_err(), "{wrong:?}");
        }
        assert!(empty(b"").is_ok());
        assert!(empty(b"\x08\x00").is_err());
    }

    #[test]
    fn answers_are_what_their_fields_say() {
        assert_eq!(state(true), [0x08, 1]);
        assert_eq!(state(false), [0_u8; 0], "a default is not written");
        assert_eq!(server_metadata("1"), b"\x0a\x08tollgate\x12\x011");
        let port =
            Port { name: "x".into(), dtype: Dtype::Fp32, dims: vec![Dim::Symbolic("n".into()), Dim::Fixed(300)] };
        let signature = Signature { inputs: vec![port], ..Signature::default() };
        let tensor = b"\x0a\x01x\x12\x04FP32\x1a\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xac\x02";
        let length = u8::try_from(tensor.len()).expect("short");
        assert_eq!(model_metadata("m", "", &signature), [b"\x0a\x01m\x22", &[length][..], tensor].concat());
    }
}
