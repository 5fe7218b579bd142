// SPDX-License-Identifier: MIT OR Apache-2.0
//! `timer-server`.
#![no_std]
#![no_main]
