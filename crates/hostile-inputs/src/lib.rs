// SPDX-License-Identifier: MIT OR Apache-2.0
//! What reads hostile input, as functions of bytes: for a fuzzer, and for the inputs that it once found. A function that panics has found an
//! error: in the reader, or in what is promised of it.
#![forbid(unsafe_code)]

mod bytes;
mod configuration;
mod description;
mod firmware;
mod guest;
mod image;
mod instructions;
mod interrupts;
mod messages;
mod ram;

/// A target's name and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("acpi", firmware::acpi),
    ("dmar", firmware::dmar),
    ("configuration", configuration::run),
    ("bars", configuration::bars),
    ("interrupts", interrupts::run),
    ("devices", guest::run),
    ("instructions", instructions::run),
    ("images", image::run),
    ("messages", messages::run),
    ("log", messages::log),
    ("description", description::run),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|target| target.0 == name).map(|target| target.1)
}
