// SPDX-License-Identifier: MIT OR Apache-2.0
//! `http`.
#![no_std]
#![no_main]
