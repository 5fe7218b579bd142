// SPDX-License-Identifier: MIT OR Apache-2.0
//! `firmware-tables`.
#![cfg_attr(not(test), no_std)]
