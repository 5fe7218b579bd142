// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system description: as text, and compiled.

use system_spec::compiled::System;
use system_spec::description::Description;

/// What is accepted says the same when it is read again; what isn't has its remarks.
pub fn run(input: &[u8]) {
    if let Ok(system) = System::read(input) {
        assert!(!system.vms.is_empty() && system.vms.iter().all(|vm| vm.memory.is_multiple_of(2 << 20)));
        let again = postcard::to_stdvec(&system).expect("what was read can be written");
        assert_eq!(System::read(&again), Ok(system));
    }
    let text = String::from_utf8_lossy(input);
    match Description::read(&text) {
        Ok((description, _)) => {
            let compiled = description.compile().expect("what is accepted compiles");
            assert_eq!(System::read(&compiled), Ok(description.system()));
        }
        Err(remarks) => {
            assert!(!remarks.is_empty(), "refused without a reason");
            remarks.iter().for_each(|remark| drop(remark.render("x", &text)));
        }
    }
}
