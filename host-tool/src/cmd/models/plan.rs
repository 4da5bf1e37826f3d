//! `facelatch models plan`: the plans that the int8 engine runs, as files.
//!
//! Nobody needs them by hand: every program compiles the networks it opens and keeps the plans. This verb is for looking
//! at them, and for running them where there is no compiler.

use std::{fmt, fs, path::PathBuf, time::Instant};

use facelatch_int8::Plan;
use facelatch_models::compile::compile;
use serde::Serialize;

use crate::{Error, Exit, cli::Global};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: facelatch models plan --out plans")]
pub(super) struct Args {
    /// Write NAME.plan here, for every network.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    plans: Vec<Compiled>,
}

#[derive(Serialize)]
struct Compiled {
    name: String,
    /// Height and width of the picture that `macs` is for.
    size_px: [usize; 2],
    /// Multiply-accumulates.
    macs: u64,
    /// Length of the plan.
    bytes: usize,
    compile_ms: f64,
    file: Option<PathBuf>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for plan in &self.plans {
            let [h, w] = plan.size_px;
            let mmac = plan.macs as f64 / 1e6;
            write!(
                f,
                "{}: {mmac:.2} million multiply-accumulates at {h} x {w}",
                plan.name
            )?;
            write!(
                f,
                ", {} bytes, compiled in {:.1} ms",
                plan.bytes, plan.compile_ms
            )?;
            match &plan.file {
                Some(file) => writeln!(f, ", {}", file.display())?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// Runs the verb.
///
/// # Errors
/// No zoo, a network that the compiler does not know, a folder that cannot be written.
pub(super) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let zoo = global.zoo()?;
    let mut plans = Vec::new();
    for network in &zoo.manifest().network {
        let onnx = zoo.bytes(network)?;
        let start = Instant::now();
        let bytes = compile(&network.name, onnx)?;
        let compile_ms = start.elapsed().as_secs_f64() * 1e3;
        let plan = Plan::from_bytes(&bytes)?;
        // Where the size is free, that of the smallest picture P-Net gives an answer for.
        let size_px = plan.size().map(|side| side.unwrap_or(12));
        let file = match &args.out {
            Some(dir) => {
                let file = dir.join(format!("{}.plan", network.name));
                let write = fs::create_dir_all(dir).and_then(|()| fs::write(&file, &bytes));
                write.map_err(|source| Error::Storage {
                    doing: "write",
                    path: file.clone(),
                    source,
                })?;
                Some(file)
            }
            None => None,
        };
        plans.push(Compiled {
            name: network.name.clone(),
            size_px,
            macs: plan.macs(size_px)?,
            bytes: bytes.len(),
            compile_ms,
            file,
        });
    }
    global.format().print(&Report { plans })?;
    Ok(Exit::Done)
}
