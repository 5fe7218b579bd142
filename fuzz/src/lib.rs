// SPDX-License-Identifier: MIT OR Apache-2.0
//! libFuzzer's entry for each target of `hostile-inputs`.

pub use hostile_inputs::target;
pub use libfuzzer_sys::fuzz_target;

/// The entry of the target of this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::fuzz_target!(|input: &[u8]| {
            $crate::target($name).expect("a target of this name")(input);
        });
    };
}
