// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hands the linker script to the linker where the program is built for the machine.

fn main() {
    println!("cargo:rerun-if-changed=preloader.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo:rustc-link-arg-bins=-T{here}/preloader.ld");
    }
}
