// SPDX-License-Identifier: MIT OR Apache-2.0
//! The software fill that stands for `IA32_FLUSH_CMD` (Intel, "L1 Terminal Fault", "L1D flush": reading 64 KiB displaces every line of a
//! cache of 32 KiB, whose replacement isn't strictly by age). Processors with 48 KiB have RDCL_NO and the register.
//!
//! And what the steps cost: a contract with the kernel's switch (`kernel/src/virt/svm/switch.rs`), which tests hold to the instruction.
//!
//! Interrupts are off while it fills, so the kernel looks for them before (`enter.rs`, beside it).

use core::ops::RangeInclusive;

use crate::decide::Steps;

/// Bytes that are read.
pub const BYTES: usize = 64 << 10;
/// Bytes of a cache line.
pub const LINE: usize = 64;
/// Instructions of the loop: a load, an addition and a branch for each line.
pub const LOOP_INSTRUCTIONS: u64 = 3 * (BYTES / LINE) as u64;
/// Around the loop: two that begin it, a fence, the counter.
const FRAME: u64 = 4;
/// Of an entry with any step at all: the way there and back, and which of the three it is.
const CHOICE: u64 = 9;
/// To look for interrupts before the fill, in eight registers: how many these are is the compiler's.
const LOOK: RangeInclusive<u64> = 16..=80;
/// `IA32_FLUSH_CMD`: three for the registers, WRMSR, the counter.
const FLUSH: u64 = 5;
/// The counter and VERW.
const BUFFERS: u64 = 2;

/// Instructions by which each entry with these steps is longer than one without any.
#[must_use]
pub const fn growth(steps: Steps) -> RangeInclusive<u64> {
    let mut sum = if steps.intersects(Steps::EACH_ENTRY) { CHOICE } else { 0 };
    if steps.contains(Steps::L1D_FILL) {
        sum += FRAME + LOOP_INSTRUCTIONS;
    }
    if steps.contains(Steps::L1D_FLUSH) {
        sum += FLUSH;
    }
    if steps.contains(Steps::BUFFERS) {
        sum += BUFFERS;
    }
    if !steps.contains(Steps::L1D_FILL) {
        return sum..=sum;
    }
    sum + *LOOK.start()..=sum + *LOOK.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_add_up() {
        assert_eq!(growth(Steps::empty()), 0..=0);
        assert_eq!(growth(Steps::PREDICTORS), 0..=0);
        assert_eq!(growth(Steps::L1D_FILL), 3 * 1024 + 29..=3 * 1024 + 93);
        assert_eq!(growth(Steps::L1D_FLUSH | Steps::BUFFERS), 16..=16);
    }
}
