// SPDX-License-Identifier: MIT OR Apache-2.0
//! `postern-tests`.
#![cfg_attr(not(test), no_std)]
