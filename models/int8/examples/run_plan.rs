//! Runs a plan file and prints one line of JSON: its times, its share of the processor's peak, and a digest of all
//! that it computed.
//!
//! `benches/compare.sh` times it beside another engine, `benches/emulate.sh` compares its digests between instruction
//! sets and processors. It needs this crate alone, so that it is built for another processor in seconds.

use std::{
    env, fs, hint,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use facelatch_int8::{Engine, Isa, Plan, Runner, peak};
use sha2::{Digest, Sha256};

const USAGE: &str = "\
usage: run_plan PLAN [OPTIONS]

Runs a plan and prints one line of JSON.

  --pictures FILE   raw pictures, u8 RGB, one after another, as many as the file has whole (default: noise)
  --size HxW        their height and width (default: the plan's own)
  --batch N         pictures in one run (default: 1)
  --runs N          timed runs (default: 100); with --digest: times that all pictures are run (default: 1)
  --isa NAME        instruction set (default: $FACELATCH_ISA, else the best this processor has)
  --threads N       threads (default: $FACELATCH_THREADS, else 1)
  --digest          no times: what was computed, and its digest only
  --isas            only print the instruction sets this processor has, best first

In the output: macs are multiply-accumulates of one picture; load_ms is from opening the file to the first possible run;
first_ms is that run, min_ms and median_ms are of the timed ones, all of one batch. The peak is the median of bursts of
register-only multiply-accumulates on as many threads, one burst after each timed run; peak_share is gmac_per_s over it.
sha256 is of the bits of all outputs, f32 little-endian, picture after picture.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--help" || a == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if arguments == ["--isas"] {
        for isa in Isa::available() {
            println!("{isa}");
        }
        return ExitCode::SUCCESS;
    }
    let done = parse(&arguments)
        .map_err(|why| (2, format!("{why}; see --help")))
        .and_then(|asked| measure(&asked).map_err(|why| (4, why)));
    match done {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err((code, why)) => {
            eprintln!("run_plan: {why}");
            ExitCode::from(code)
        }
    }
}

/// The command line.
struct Asked {
    plan: PathBuf,
    pictures: Option<PathBuf>,
    size: Option<[usize; 2]>,
    batch: usize,
    runs: Option<usize>,
    isa: Isa,
    threads: usize,
    digest: bool,
}

fn parse(arguments: &[String]) -> Result<Asked, String> {
    let mut plan = None;
    let mut digest = false;
    let [
        mut pictures,
        mut size,
        mut batch,
        mut runs,
        mut isa,
        mut threads,
    ] = [const { None }; 6];
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, attached) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let option = match name {
            "--pictures" => &mut pictures,
            "--size" => &mut size,
            "--batch" => &mut batch,
            "--runs" => &mut runs,
            "--isa" => &mut isa,
            "--threads" => &mut threads,
            "--digest" if attached.is_none() => {
                digest = true;
                continue;
            }
            _ if name.starts_with('-') => return Err(format!("there is no option {argument}")),
            _ if plan.is_none() => {
                plan = Some(PathBuf::from(argument));
                continue;
            }
            _ => return Err(format!("one plan at a time, {argument} is too many")),
        };
        let value = attached.or_else(|| rest.next().cloned());
        *option = Some(value.ok_or_else(|| format!("{name} needs a value"))?);
    }
    let isa = isa.or_else(|| env::var("FACELATCH_ISA").ok());
    let threads = threads.or_else(|| env::var("FACELATCH_THREADS").ok());
    Ok(Asked {
        plan: plan.ok_or("which plan?")?,
        pictures: pictures.map(PathBuf::from),
        size: size.map(|text| picture_size(&text)).transpose()?,
        batch: batch.map_or(Ok(1), |text| number("--batch", &text))?,
        runs: runs.map(|text| number("--runs", &text)).transpose()?,
        isa: match isa {
            Some(name) => Isa::from_str(&name).map_err(|error| error.to_string())?,
            None => Isa::from_env().map_err(|error| error.to_string())?,
        },
        threads: threads.map_or(Ok(1), |text| number("threads", &text))?,
        digest,
    })
}

fn number(name: &str, text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{name}: {text} is no number from 1 up")),
        Ok(n) => Ok(n),
    }
}

fn picture_size(text: &str) -> Result<[usize; 2], String> {
    let (h, w) = text
        .split_once('x')
        .ok_or_else(|| format!("--size: {text} is not like 160x160"))?;
    Ok([number("--size", h)?, number("--size", w)?])
}

/// Does what was asked; one line of JSON.
fn measure(asked: &Asked) -> Result<String, String> {
    let started = Instant::now();
    let plan = Plan::open(&asked.plan).map_err(|error| describe(&asked.plan, error))?;
    let size = match (asked.size, plan.size()) {
        (Some(size), _) => size,
        (None, [Some(h), Some(w)]) => [h, w],
        (None, _) => return Err("the plan takes pictures of many sizes: say --size HxW".into()),
    };
    let engine = Engine::new(asked.isa, asked.threads).map_err(|error| error.to_string())?;
    let mut runner = Runner::new(&plan, size, asked.batch, &engine)
        .map_err(|error| describe(&asked.plan, error))?;
    let load = started.elapsed();

    let pixels = pictures(asked.pictures.as_deref(), size, asked.batch)?;
    let one = size[0] * size[1] * 3;
    let batch = &pixels[..pixels.len().min(asked.batch * one)];
    let started = Instant::now();
    if !asked.digest {
        runner.run(batch).map_err(|error| error.to_string())?;
    }
    let first = started.elapsed();

    let passes = asked.runs.filter(|_| asked.digest).unwrap_or(1);
    let sha256 = digest(&mut runner, &pixels, passes)?;
    let macs = plan.macs(size).map_err(|error| error.to_string())?;
    let [h, w] = size;
    let mut line = format!(
        "{{\"plan\": {}, \"isa\": \"{}\", \"threads\": {}, \"size\": [{h}, {w}], \"batch\": {}, \"pictures\": {}, \
         \"macs\": {macs}",
        quoted(&asked.plan.display().to_string()),
        engine.isa(),
        engine.threads(),
        batch.len() / one,
        pixels.len() / one,
    );
    if !asked.digest {
        let Timed { runs, peaks } = time(&mut runner, &engine, batch, asked.runs.unwrap_or(100))?;
        let median_run = median(&runs);
        let rate = macs as f64 * (batch.len() / one) as f64 / median_run / 1e9;
        let peak_rate = median(&peaks);
        line += &format!(
            ", \"load_ms\": {:.3}, \"first_ms\": {:.3}, \"min_ms\": {:.4}, \"median_ms\": {:.4}, \
             \"gmac_per_s\": {rate:.2}, \"peak_gmac_per_s\": {peak_rate:.2}, \"peak_share\": {:.4}",
            load.as_secs_f64() * 1e3,
            first.as_secs_f64() * 1e3,
            runs.iter().copied().fold(f64::INFINITY, f64::min) * 1e3,
            median_run * 1e3,
            rate / peak_rate,
        );
    }
    Ok(line + &format!(", \"sha256\": \"{sha256}\"}}"))
}

/// The whole pictures of a file; without one, a batch of noise, always the same.
fn pictures(file: Option<&Path>, [h, w]: [usize; 2], batch: usize) -> Result<Vec<u8>, String> {
    let one = h * w * 3;
    let Some(file) = file else {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise = (0..batch * one).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        });
        return Ok(noise.collect());
    };
    let mut pixels = fs::read(file).map_err(|error| describe(file, error))?;
    pixels.truncate(pixels.len() / one * one);
    match pixels.is_empty() {
        true => Err(format!(
            "{}: not one picture of {h}x{w}, which has {one} bytes",
            file.display()
        )),
        false => Ok(pixels),
    }
}

/// SHA-256 of what comes out for all pictures; every pass must give the same.
fn digest(runner: &mut Runner, pixels: &[u8], passes: usize) -> Result<String, String> {
    let [h, w] = runner.size();
    let mut found = String::new();
    for pass in 1..=passes {
        let mut hash = Sha256::new();
        for batch in pixels.chunks(runner.batch() * h * w * 3) {
            runner.run(batch).map_err(|error| error.to_string())?;
            let outputs: Vec<_> = runner.outputs().map(|o| (o.to_vec(), o.shape())).collect();
            // By picture, so that the size of the batch changes nothing.
            for image in 0..batch.len() / (h * w * 3) {
                for (values, [_, h, w, channels]) in &outputs {
                    let one = h * w * channels;
                    for value in &values[image * one..][..one] {
                        hash.update(value.to_bits().to_le_bytes());
                    }
                }
            }
        }
        let bytes = hash.finalize();
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if pass > 1 && text != found {
            return Err(format!("pass {pass} gave other values than the one before"));
        }
        found = text;
    }
    Ok(found)
}

/// Seconds of each run, and multiply-accumulates per nanosecond of each burst beside it.
struct Timed {
    runs: Vec<f64>,
    peaks: Vec<f64>,
}

fn time(
    runner: &mut Runner,
    engine: &Arc<Engine>,
    batch: &[u8],
    runs: usize,
) -> Result<Timed, String> {
    let rounds = rounds(engine.isa())?;
    let mut timed = Timed {
        runs: Vec::with_capacity(runs),
        peaks: Vec::with_capacity(runs),
    };
    for _ in 0..runs {
        let started = Instant::now();
        runner.run(batch).map_err(|error| error.to_string())?;
        timed.runs.push(started.elapsed().as_secs_f64());
        timed.peaks.push(thread::scope(|scope| {
            let helpers: Vec<_> = (1..engine.threads())
                .map(|_| scope.spawn(|| burst(engine.isa(), rounds)))
                .collect();
            let own = burst(engine.isa(), rounds);
            helpers
                .into_iter()
                .map(|helper| helper.join().unwrap_or(Ok(0.0)))
                .sum::<Result<f64, String>>()
                .and_then(|others| Ok(own? + others))
        })?);
    }
    Ok(timed)
}

/// As many rounds as make a burst long against the clock and the processor's change of pace.
fn rounds(isa: Isa) -> Result<u32, String> {
    let mut rounds = 1000;
    loop {
        let started = Instant::now();
        peak(isa, rounds).map_err(|error| error.to_string())?;
        if started.elapsed() > Duration::from_micros(500) {
            return Ok(rounds);
        }
        rounds *= 2;
    }
}

/// Multiply-accumulates per nanosecond, over registers alone.
fn burst(isa: Isa, rounds: u32) -> Result<f64, String> {
    let started = Instant::now();
    let done = peak(isa, hint::black_box(rounds)).map_err(|error| error.to_string())?;
    Ok(done as f64 / started.elapsed().as_secs_f64() / 1e9)
}

/// Of at least one value.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

fn describe(path: &Path, error: impl std::fmt::Display) -> String {
    let (path, error) = (path.display().to_string(), error.to_string());
    match error.contains(&path) {
        true => error,
        false => format!("{path}: {error}"),
    }
}

fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c.is_control() => json += &format!("\\u{:04x}", u32::from(c)),
            c => json.push(c),
        }
    }
    json + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn paths_become_json() {
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }
}
