// SPDX-License-Identifier: MIT OR Apache-2.0
//! `protocol`.
#![cfg_attr(not(test), no_std)]
