//! See `facelatch_fuzz_targets::policy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facelatch_fuzz_targets::policy(data));
