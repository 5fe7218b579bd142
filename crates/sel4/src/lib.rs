// SPDX-License-Identifier: MIT OR Apache-2.0
//! `sel4`.
#![cfg_attr(not(test), no_std)]
