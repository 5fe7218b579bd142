// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pci-server`.
#![no_std]
#![no_main]
