//! The inner loops of all kernels, as the compiler left them: nothing in them may be stored on the stack.
//!
//! A tile keeps its accumulators in registers; a compiler that spills one makes it several times slower, with the same
//! results. So this program disassembles itself (`objdump`, or what `OBJDUMP` names) and reads every smallest loop that
//! multiplies and accumulates. Show them: `cargo test --release -p facelatch-int8 --test hot_loops -- --nocapture`.

use std::{collections::BTreeSet, env, process::Command};

use facelatch_int8::Isa;

/// What a loop must contain to be one of ours, and whose it is.
const MULTIPLY: &[&str] = &[
    "vpdpbusd",
    "vpmaddwd",
    "vpmaddubsw",
    "sdot",
    "smlal",
    "smlal2",
    "smull",
    "smull2",
];

/// What the kernels of an instruction set multiply with, on which registers.
fn signature(isa: Isa) -> Option<(&'static str, &'static str)> {
    match isa {
        Isa::Scalar => None,
        Isa::Avx2 => Some(("vpmaddwd", "%ymm")),
        Isa::AvxVnni => Some(("vpdpbusd", "%ymm")),
        Isa::Avx512Vnni => Some(("vpdpbusd", "%zmm")),
        Isa::Neon => Some(("smlal", "v")),
        Isa::DotProd => Some(("sdot", "v")),
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "there are no tiles in a debug build")]
fn no_inner_loop_stores_on_the_stack() {
    let program = env::current_exe().unwrap();
    let objdump = env::var("OBJDUMP").unwrap_or_else(|_| "objdump".into());
    let out = Command::new(&objdump)
        .args(["-d", "-C", "--no-show-raw-insn"])
        .arg(&program)
        .output()
        .unwrap_or_else(|error| panic!("{objdump} (package binutils): {error}"));
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let listing = String::from_utf8_lossy(&out.stdout);
    let functions = functions(&listing);
    // The scalar kernel has no tiles: what it multiplies with is the compiler's affair.
    let ours = functions
        .iter()
        .filter(|f| f.name.contains("facelatch_int8") && !f.name.contains("::scalar::"));
    let loops: Vec<Loop> = ours.flat_map(hot_loops).collect();

    println!(
        "{:<60} {:>8} {:>9} {:>6} {:>7}",
        "function", "at", "multiply", "loads", "stores"
    );
    for found in &loops {
        let Loop {
            function,
            at,
            multiplies,
            loads,
            stores,
            ..
        } = found;
        println!(
            "{function:<60} {at:>8x} {multiplies:>9} {loads:>6} {:>7}",
            stores.len()
        );
    }
    for isa in Isa::available() {
        if let Some((mnemonic, register)) = signature(isa) {
            let known = (mnemonic.to_owned(), register.to_owned());
            assert!(
                loops.iter().any(|l| l.signatures.contains(&known)),
                "{isa}: no loop with {mnemonic} on {register} registers was found"
            );
        }
    }
    let spills: Vec<String> = loops
        .iter()
        .filter_map(|l| Some((l, l.stores.first()?)))
        .map(|(l, first)| {
            format!(
                "{} at {:x}: {} of them, first {first}",
                l.function,
                l.at,
                l.stores.len()
            )
        })
        .collect();
    assert!(
        spills.is_empty(),
        "stack stores in inner loops: {spills:#?}"
    );
}

#[derive(Debug)]
struct Function<'a> {
    name: String,
    code: Vec<Instruction<'a>>,
}

#[derive(Debug)]
struct Instruction<'a> {
    address: u64,
    mnemonic: &'a str,
    operands: &'a str,
}

/// A loop that multiplies and accumulates, and holds no smaller one.
#[derive(Debug)]
struct Loop {
    function: String,
    at: u64,
    multiplies: usize,
    loads: usize,
    stores: Vec<String>,
    signatures: BTreeSet<(String, String)>,
}

/// Reads what `objdump -d` prints.
fn functions(listing: &str) -> Vec<Function<'_>> {
    let mut all: Vec<Function> = Vec::new();
    for line in listing.lines() {
        if let Some(name) = line.strip_suffix(">:") {
            let name = name.split_once('<').map_or(name, |(_, name)| name);
            let name = name.split(".llvm.").next().unwrap_or(name).to_owned();
            all.push(Function {
                name,
                code: Vec::new(),
            });
            continue;
        }
        let Some((address, text)) = line.split_once(":\t") else {
            continue;
        };
        let (Ok(address), Some(function)) =
            (u64::from_str_radix(address.trim(), 16), all.last_mut())
        else {
            continue;
        };
        // Comments go, and `{vex}`, which stands before AVX-VNNI.
        let text = text.split("//").next().unwrap_or("");
        let text = text.split(" # ").next().unwrap_or(text);
        let text = text.trim().trim_start_matches("{vex}").trim();
        let (mnemonic, operands) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        function.code.push(Instruction {
            address,
            mnemonic,
            operands: operands.trim(),
        });
    }
    all
}

fn hot_loops(function: &Function) -> Vec<Loop> {
    let code = &function.code;
    let multiplies =
        |at: &Instruction| MULTIPLY.contains(&at.mnemonic.split('.').next().unwrap_or(""));
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (last, instruction) in code.iter().enumerate() {
        let target = branch_target(instruction).filter(|&t| t <= instruction.address);
        let first = target.and_then(|t| code.binary_search_by_key(&t, |i| i.address).ok());
        if let Some(first) = first
            && code[first..=last].iter().any(multiplies)
        {
            ranges.push((first, last));
        }
    }
    let frames = frame_registers(code);
    let smallest = ranges.iter().filter(|(first, last)| {
        let within = |(f, l): &&(usize, usize)| f >= first && l <= last && (f, l) != (first, last);
        !ranges.iter().any(|other| within(&other))
    });
    smallest
        .map(|&(first, last)| {
            let body = &code[first..=last];
            Loop {
                function: function.name.clone(),
                at: code[first].address,
                multiplies: body.iter().filter(|i| multiplies(i)).count(),
                loads: body.iter().filter(|i| is_load(i)).count(),
                stores: body
                    .iter()
                    .filter(|i| stores_on_stack(i, &frames))
                    .map(|i| format!("{} {}", i.mnemonic, i.operands))
                    .collect(),
                signatures: body
                    .iter()
                    .filter(|i| multiplies(i))
                    .filter_map(signed)
                    .collect(),
            }
        })
        .collect()
}

/// An instruction's name, and the kind of register of its last operand (x86) or first (ARM).
fn signed(instruction: &Instruction) -> Option<(String, String)> {
    let operands = instruction.operands;
    let kind = match operands.rsplit_once('%') {
        Some((_, last)) => format!("%{}", last.trim_end_matches(|c: char| !c.is_alphabetic())),
        None => operands.chars().next()?.to_string(),
    };
    Some((instruction.mnemonic.to_owned(), kind))
}

/// Where a jump goes; calls and returns are none.
fn branch_target(instruction: &Instruction) -> Option<u64> {
    let jump = match instruction.mnemonic {
        "b" | "cbz" | "cbnz" | "tbz" | "tbnz" => true,
        other => other.starts_with('j') || other.starts_with("b."),
    };
    let (before, _) = instruction.operands.split_once('<').filter(|_| jump)?;
    let address = before.trim().rsplit([' ', ',']).next()?;
    u64::from_str_radix(address.trim_start_matches("0x"), 16).ok()
}

/// The stack pointer and what the function copies it to.
fn frame_registers(code: &[Instruction]) -> BTreeSet<String> {
    let mut frames: BTreeSet<String> = ["%rsp".to_owned(), "sp".to_owned()].into();
    for instruction in code {
        let copied = match (instruction.mnemonic, instruction.operands.split_once(',')) {
            ("mov", Some(("%rsp", to))) => Some(to),
            ("mov", Some((to, from))) if from.trim() == "sp" => Some(to),
            ("add", Some(("x29", from))) if from.trim().starts_with("sp,") => Some("x29"),
            _ => None,
        };
        frames.extend(copied.map(|register| register.trim().to_owned()));
    }
    frames
}

/// A call counts: it leaves no vector register as it was.
fn stores_on_stack(instruction: &Instruction, frames: &BTreeSet<String>) -> bool {
    let Instruction {
        mnemonic, operands, ..
    } = *instruction;
    if mnemonic.starts_with("push") || mnemonic.starts_with("call") || mnemonic.starts_with("bl") {
        return true;
    }
    if is_arm(instruction) {
        let base = operands.split_once('[').map_or("", |(_, base)| base);
        let base = base.split([',', ']']).next().unwrap_or("");
        return mnemonic.starts_with("st") && frames.contains(base.trim());
    }
    // AT&T: the destination is last. A comparison writes nothing.
    let writes = !["cmp", "test", "vptest", "prefetch", "j"]
        .iter()
        .any(|no| mnemonic.starts_with(no));
    let base = operands.strip_suffix(')').and_then(|o| o.rsplit_once('('));
    writes && base.is_some_and(|(_, base)| frames.contains(base.split(',').next().unwrap_or("")))
}

fn is_load(instruction: &Instruction) -> bool {
    match is_arm(instruction) {
        true => instruction.mnemonic.starts_with("ld"),
        false => {
            let memory = instruction.operands.contains('(');
            memory
                && !instruction.operands.ends_with(')')
                && !instruction.mnemonic.starts_with("lea")
        }
    }
}

fn is_arm(instruction: &Instruction) -> bool {
    !instruction.operands.contains('%') && !instruction.operands.contains('$')
}

/// What the check says about a listing: multiplications, loads and stack stores of each loop.
fn read(listing: &str) -> Vec<[usize; 3]> {
    let found = functions(listing);
    let loops = found.iter().flat_map(hot_loops);
    loops
        .map(|l| [l.multiplies, l.loads, l.stores.len()])
        .collect()
}

#[test]
fn a_spill_is_found_on_x86() {
    let listing = "
0000000000001000 <facelatch_int8::kernels::avx512vnni::tile>:
    1000:\tpush   %rbp
    1001:\tmov    %rsp,%rbp
    1010:\tvmovdqu64 (%rsi),%zmm0
    1016:\tvpdpbusd (%rdi){1to16},%zmm0,%zmm1
    101c:\tSPILL
    1024:\tvmovdqa64 %zmm2,(%rax)
    102a:\tadd    $0x40,%rsi
    102e:\tcmp    %rcx,0x8(%rsp)
    1030:\tjb     1010 <facelatch_int8::kernels::avx512vnni::tile+0x10>
    1034:\tvmovdqa64 %zmm1,0x40(%rsp)
    103c:\tjmp    1000 <facelatch_int8::kernels::avx512vnni::tile>
";
    let with = |line| read(&listing.replace("SPILL", line));
    assert_eq!(with("nop"), [[1, 2, 0]]);
    assert_eq!(with("vmovdqa64 0x40(%rsp),%zmm1"), [[1, 3, 0]]);
    assert_eq!(with("vmovdqa64 %zmm1,0x40(%rsp)"), [[1, 2, 1]]);
    assert_eq!(with("vmovups %ymm1,-0x40(%rbp)"), [[1, 2, 1]]);
    assert_eq!(with("mov    %rdx,(%rsp,%rcx,8)"), [[1, 2, 1]]);
    assert_eq!(with("call   2000 <finish>"), [[1, 2, 1]]);
    assert_eq!(with("{vex} vpdpbusd (%rdi),%ymm0,%ymm1"), [[2, 3, 0]]);
}

#[test]
fn a_spill_is_found_on_arm() {
    let listing = "
0000000000001000 <facelatch_int8::kernels::dotprod::tile>:
    1000:\tstp\tx29, x30, [sp, #-16]!
    1004:\tmov\tx29, sp
    1008:\tldp\tq0, q1, [x1], #32
    100c:\tsdot\tv2.4s, v0.16b, v1.4b[0]
    1010:\tSPILL
    1014:\tstr\tq2, [x0]
    1018:\tsubs\tx2, x2, #0x1
    101c:\tb.ne\t1008 <facelatch_int8::kernels::dotprod::tile+0x8>  // b.any
    1020:\tldp\tx29, x30, [sp], #16
    1024:\tret
";
    let with = |line| read(&listing.replace("SPILL", line));
    assert_eq!(with("nop"), [[1, 1, 0]]);
    assert_eq!(with("ldr\tq3, [sp, #16]"), [[1, 2, 0]]);
    assert_eq!(with("str\tq3, [sp, #16]"), [[1, 1, 1]]);
    assert_eq!(with("stp\tq3, q4, [x29, #-32]"), [[1, 1, 1]]);
    assert_eq!(with("st1\t{v3.16b}, [sp]"), [[1, 1, 1]]);
    assert_eq!(with("smlal2\tv4.8h, v0.16b, v1.16b"), [[2, 1, 0]]);
}
