// SPDX-License-Identifier: MIT OR Apache-2.0
//! `guest-runtime`.
#![cfg_attr(not(test), no_std)]
