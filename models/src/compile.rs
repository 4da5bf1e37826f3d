//! ONNX (QDQ) -> plan of the int8 engine.
//!
//! ```text
//! bytes -> onnx (protobuf, every length and attribute checked) -> fuse (operators become layers) -> emit (Builder)
//! ```
//!
//! The compiler knows the operators of quantized image networks and refuses all others by name; `net` then falls back
//! to tract. What it fuses:
//!
//! ```text
//! Conv [-> Relu | PRelu] -> Quantize -> Dequantize     one convolution, of all channels or of each by itself (depthwise)
//! Conv [-> Quantize -> Dequantize] -> Add -> [Relu]    one convolution with a residual, rounded once
//! Concat of tensors on one grid                        slices of one tensor, nothing to run
//! convolutions side by side that read the same         one convolution with several outputs
//! ```
//!
//! A residual branch is rounded once where the file asks for it twice. So a plan is not equal, bit for bit, to a literal
//! run of the file, but closer to the float network that the file was made of.

mod constant;
mod emit;
mod fuse;
mod onnx;

use sha2::{Digest, Sha256};

use crate::Error;

/// Version of the compiler: a new one where the plan of an ONNX file would be another.
pub const VERSION: u32 = 1;

/// Compiles ONNX bytes, which are let go of early; `name` appears in errors.
///
/// # Errors
/// [`Error::Network`], naming the operator and the node that the compiler does not know.
pub fn compile(name: &str, onnx: Vec<u8>) -> Result<Vec<u8>, Error> {
    let refuse = |why: String| Error::Network {
        name: name.to_owned(),
        why,
    };
    let source: [u8; 32] = Sha256::digest(&onnx).into();
    let graph = onnx::decode(&onnx).map_err(refuse)?;
    drop(onnx);
    let network = fuse::fuse(&graph).map_err(refuse)?;
    let builder = emit::emit(&network).map_err(refuse)?;
    drop(graph);
    builder.finish(source).map_err(|e| refuse(e.to_string()))
}
