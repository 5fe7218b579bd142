// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hello`.
#![no_std]
#![no_main]
