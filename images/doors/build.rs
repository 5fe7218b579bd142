// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the image by the guest runtime's layout; host builds (tests) keep the host's.

fn main() {
    let script = "../runtime/guest.ld";
    println!("cargo:rerun-if-changed={script}");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo:rustc-link-arg-bins=-T{here}/{script}");
    }
}
