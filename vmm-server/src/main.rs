// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vmm-server`.
#![no_std]
#![no_main]
