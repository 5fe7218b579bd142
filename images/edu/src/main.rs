// SPDX-License-Identifier: MIT OR Apache-2.0
//! `edu`.
#![no_std]
#![no_main]
