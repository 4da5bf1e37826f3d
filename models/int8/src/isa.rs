//! Instruction sets: which there are, which this processor has, which one to use.

use std::{env, fmt, str::FromStr};

use crate::{Error, kernels};

/// Most worker threads; more do not pay on the processors a door has.
pub const MAX_THREADS: usize = 4;

const ISA_VARIABLE: &str = "FACELATCH_ISA";
const THREADS_VARIABLE: &str = "FACELATCH_THREADS";

/// An instruction set with kernels of its own. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust, any processor: the oracle of the others.
    Scalar,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-VNNI (256 bits).
    AvxVnni,
    /// x86-64 with AVX-512 VNNI.
    Avx512Vnni,
    /// aarch64 without dot products: Cortex-A53, A72 (Raspberry Pi 3, Zero 2, 4).
    Neon,
    /// aarch64 with dot products: Cortex-A76 (Raspberry Pi 5).
    DotProd,
}

impl Isa {
    /// All of them.
    pub const ALL: [Isa; 6] = [
        Isa::Scalar,
        Isa::Avx2,
        Isa::AvxVnni,
        Isa::Avx512Vnni,
        Isa::Neon,
        Isa::DotProd,
    ];

    /// The name used in `FACELATCH_ISA`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Neon => "neon",
            Isa::DotProd => "dotprod",
        }
    }

    /// What this processor has, best first; [`Isa::Scalar`] is always the last.
    #[must_use]
    pub fn available() -> Vec<Isa> {
        kernels::available().map(|kernel| kernel.isa).collect()
    }

    /// The one to use: `FACELATCH_ISA` if set, else the best this processor has.
    ///
    /// # Errors
    /// [`Error::Setting`] for a name that is none of [`Isa::ALL`], [`Error::Unsupported`] for one that is not here.
    pub fn from_env() -> Result<Isa, Error> {
        match env::var(ISA_VARIABLE) {
            Ok(name) => {
                let isa: Isa = name.parse()?;
                kernels::find(isa)?;
                Ok(isa)
            }
            Err(_) => Ok(kernels::best().isa),
        }
    }
}

impl FromStr for Isa {
    type Err = Error;

    fn from_str(name: &str) -> Result<Isa, Error> {
        let found = Isa::ALL.into_iter().find(|isa| isa.name() == name);
        found.ok_or_else(|| Error::Setting {
            name: ISA_VARIABLE,
            found: name.to_owned(),
            expected: format!("one of {}", list(&Isa::ALL)),
        })
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Worker threads: `FACELATCH_THREADS` if set, else 1.
pub(crate) fn threads_from_env() -> Result<usize, Error> {
    match env::var(THREADS_VARIABLE) {
        Ok(text) => parse_threads(&text),
        Err(_) => Ok(1),
    }
}

fn parse_threads(text: &str) -> Result<usize, Error> {
    match text.parse() {
        Ok(n @ 1..=MAX_THREADS) => Ok(n),
        Ok(_) | Err(_) => Err(Error::Setting {
            name: THREADS_VARIABLE,
            found: text.to_owned(),
            expected: format!("1 to {MAX_THREADS}"),
        }),
    }
}

pub(crate) fn list(isas: &[Isa]) -> String {
    let names: Vec<&str> = isas.iter().map(|isa| isa.name()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        let said = "sse2".parse::<Isa>().unwrap_err().to_string();
        assert!(said.contains("FACELATCH_ISA=sse2"), "{said}");
        assert!(said.contains("avx512vnni"), "{said}");
    }

    #[test]
    fn there_is_always_scalar() {
        assert_eq!(Isa::available().last(), Some(&Isa::Scalar));
    }

    #[test]
    fn an_instruction_set_of_another_processor_is_refused() {
        let foreign = match cfg!(target_arch = "aarch64") {
            true => Isa::Avx2,
            false => Isa::Neon,
        };
        let said = kernels::find(foreign).unwrap_err().to_string();
        assert!(said.contains("scalar"), "{said}");
    }

    #[test]
    fn threads_are_one_to_four() {
        assert_eq!(parse_threads("1"), Ok(1));
        assert_eq!(parse_threads("4"), Ok(4));
        for bad in ["0", "5", "", "two", "-1"] {
            assert!(parse_threads(bad).is_err(), "{bad}");
        }
    }
}
