// SPDX-License-Identifier: MIT OR Apache-2.0
#![no_main]
postern_fuzz::target!("log");
