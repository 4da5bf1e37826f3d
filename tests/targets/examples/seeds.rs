//! Writes the seeds of every target under a folder: `cargo run ... --example seeds -- tests/fuzz/corpus`.

use std::{env, fs, io, path::Path};

use facelatch_fuzz_targets::TARGETS;

fn main() -> io::Result<()> {
    let folder = env::args().nth(1).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "give the folder to write to")
    })?;
    for target in TARGETS {
        let folder = Path::new(&folder).join(target.name);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in (target.seeds)() {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
