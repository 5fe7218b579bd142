// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which of the machine's processors are used: one thread of each core.

/// True if the processor with local APIC `id` is the thread of its core that is used: the one that booted (`own`) or, on other cores, the one
/// with the lowest identifier of `ids`. The lowest `bits` bits of an identifier tell threads of a core apart.
pub fn is_used(ids: &[u32], own: u32, bits: u32, id: u32) -> bool {
    let core = |id: u32| id.checked_shr(bits).unwrap_or(0);
    if core(id) == core(own) {
        return id == own;
    }
    !ids.iter().any(|&other| other < id && core(other) == core(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(ids: &[u32], own: u32, bits: u32) -> std::vec::Vec<u32> {
        ids.iter().copied().filter(|&id| is_used(ids, own, bits, id)).collect()
    }

    #[test]
    fn without_threads_all_are_used() {
        assert_eq!(used(&[0, 1, 2, 3], 0, 0), [0, 1, 2, 3]);
        assert_eq!(used(&[7], 7, 0), [7]);
    }

    #[test]
    fn one_thread_of_each_core_is_used_and_the_one_that_booted_always() {
        assert_eq!(used(&[0, 1, 2, 3, 6, 7], 0, 1), [0, 2, 6]);
        assert_eq!(used(&[0, 1, 2, 3], 3, 1), [0, 3]);
        // Firmware lists the first threads of all cores first.
        assert_eq!(used(&[0, 2, 4, 1, 3, 5], 2, 1), [0, 2, 4]);
        assert_eq!(used(&[1, 3, 5], 1, 1), [1, 3, 5], "a core whose first thread is switched off");
        assert_eq!(used(&[0x100, 0x101, 0x102, 0x103, 0x104], 0x100, 2), [0x100, 0x104]);
    }

    #[test]
    fn more_bits_than_there_are_make_all_one_core() {
        assert_eq!(used(&[0, 1, 5], 5, 32), [5]);
    }
}
