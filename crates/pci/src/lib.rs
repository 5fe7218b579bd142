// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pci`.
#![cfg_attr(not(test), no_std)]
