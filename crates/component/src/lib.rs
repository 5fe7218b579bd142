// SPDX-License-Identifier: MIT OR Apache-2.0
//! `component`.
#![cfg_attr(not(test), no_std)]
