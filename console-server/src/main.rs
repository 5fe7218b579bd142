// SPDX-License-Identifier: MIT OR Apache-2.0
//! `console-server`.
#![no_std]
#![no_main]
