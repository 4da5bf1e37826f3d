//! The int8 engine: runs quantized networks from a verified plan, with the same bits on every machine.
//!
//! ```text
//! Builder -> plan bytes -> Plan (checked, mapped) -> Runner (sized, buffers assigned) -> outputs
//!                                                      |  one step after another
//!                                                      v
//!                                    kernels: scalar | avx2 | avxvnni | avx512vnni | neon | dotprod
//! ```
//!
//! The arithmetic that every kernel must produce, bit for bit:
//!
//! ```text
//! acc[n] = bias[n] + sum (x - input_zero) * w[n]             x: u8, w: i8 in [-127, 127], acc: i32, never overflows
//! real   = f32(acc[n]) * (acc[n] < 0 ? negative[n] : scale[n])                           ReLU, PReLU or none
//!          (+ f32(r - residual_zero) * residual_scale)                                   r: u8, the residual branch
//! y[n]   = clamp(round(real) + output_zero, low, 255), or y[n] = real for an output in f32
//! ```
//!
//! * In a depthwise convolution the sum is over the window alone: each channel has a filter of its own.
//! * Activations are u8 with one zero point a tensor, NHWC; what lies outside the picture is the input's zero point.
//! * Weights are symmetric per output channel. -128 is excluded, so that two products of a signed activation and a
//!   weight add up in 16 bits (the multiply-accumulate pairs of Cortex-A72).
//! * Requantization multiplies and adds in f32, never fused, and rounds half to even: IEEE 754, the same everywhere.
//!   Parameters with which the accumulator or the result could overflow are refused.
//!
//! This crate imports nothing of ours and knows no ONNX: `models` reads networks and calls [`Builder`]. Unsafe code is
//! in `kernels/` and, to map a file, in `map.rs`; nowhere else.

#![deny(unsafe_code)]

mod builder;
mod conv;
mod error;
mod isa;
mod kernels;
mod layout;
mod map;
mod network;
mod pack;
mod plan;
mod reference;
mod resolve;
mod run;
mod window;
mod workers;

pub use builder::{Builder, ConvSpec, DepthwiseSpec, Residual, Slice, TensorId};
pub use conv::{Activation, Conv, ConvParts, Requantize};
pub use error::Error;
pub use isa::{Isa, MAX_THREADS};
pub use kernels::peak;
pub use plan::{FORMAT, Plan};
pub use reference::{convolve, depthwise, max_pool};
pub use run::{Engine, Output, Runner};
pub use window::Window;
