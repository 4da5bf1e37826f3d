//! See `facelatch_fuzz_targets::message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facelatch_fuzz_targets::message(data));
