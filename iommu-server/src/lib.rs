// SPDX-License-Identifier: MIT OR Apache-2.0
//! What iommu-server decides, without the kernel: domains, remapping entries, what DMA faults mean.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod allocate;
pub mod domains;
pub mod faults;
pub mod kernel;
pub mod recover;
