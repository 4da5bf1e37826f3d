//! See `facelatch_fuzz_targets::audit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facelatch_fuzz_targets::audit(data));
