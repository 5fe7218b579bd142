// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kernel-tests`.
#![no_std]
#![no_main]
