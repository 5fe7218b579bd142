// SPDX-License-Identifier: MIT OR Apache-2.0
//! `root-task`.
#![no_std]
#![no_main]
