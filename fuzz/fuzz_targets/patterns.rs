#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kaji_api::properties::patterns(data));
