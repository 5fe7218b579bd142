// SPDX-License-Identifier: MIT OR Apache-2.0
//! `system-spec`.
#![cfg_attr(not(test), no_std)]
