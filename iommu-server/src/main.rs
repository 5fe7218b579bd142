// SPDX-License-Identifier: MIT OR Apache-2.0
//! `iommu-server`.
#![no_std]
#![no_main]
