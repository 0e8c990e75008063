#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| usherd_fuzz::bulk(input));
