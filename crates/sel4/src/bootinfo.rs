// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boot information: what the kernel tells the initial thread.
#![allow(unsafe_code)]

use core::ops::{Deref, Range};

use sel4_abi::bootinfo as abi;

use crate::init_thread::Slot;
use crate::{CapType, IpcBuffer, Word, cap_type};

pub use abi::{SlotRegion, UntypedDesc};

/// Bytes of the boot information frame; the extra chunks begin behind it.
const FRAME: usize = 4096;

/// The boot information frame, with its extra chunks behind it.
#[derive(Debug)]
#[repr(transparent)]
pub struct BootInfo(abi::BootInfo);

fn slots<T: CapType>(region: SlotRegion) -> Range<usize> {
    let _ = core::marker::PhantomData::<T>;
    region.start as usize..region.end as usize
}

impl BootInfo {
    /// The frame as the kernel wrote it.
    pub fn inner(&self) -> &abi::BootInfo {
        &self.0
    }
    /// Address of the initial thread's IPC buffer.
    pub fn ipc_buffer(&self) -> *mut IpcBuffer {
        self.0.ipc_buffer as *mut IpcBuffer
    }
    /// Empty slots.
    pub fn empty(&self) -> Range<usize> {
        slots::<cap_type::Null>(self.0.empty)
    }
    /// Frames of the image, ascending by address.
    pub fn user_image_frames(&self) -> Range<usize> {
        slots::<cap_type::Granule>(self.0.user_image_frames)
    }
    /// Tables that map the image.
    pub fn user_image_paging(&self) -> Range<usize> {
        slots::<cap_type::PageTable>(self.0.user_image_paging)
    }
    /// Frames of the extra chunks.
    pub fn extra_bi_pages(&self) -> Range<usize> {
        slots::<cap_type::Granule>(self.0.extra_bi_pages)
    }
    /// Untyped capabilities, in the order of [`untyped_list`](Self::untyped_list).
    pub fn untyped(&self) -> Range<usize> {
        slots::<cap_type::Untyped>(self.0.untyped)
    }
    /// Descriptions of the untyped capabilities, devices' first.
    pub fn untyped_list(&self) -> &[UntypedDesc] {
        let count = self.untyped().len().min(self.0.untyped_list.len());
        &self.0.untyped_list[..count]
    }
    /// Each untyped capability with its description.
    pub fn untypeds(&self) -> impl Iterator<Item = (Slot<cap_type::Untyped>, UntypedDesc)> + '_ {
        self.untyped().zip(self.untyped_list()).map(|(slot, desc)| (Slot::from_index(slot), *desc))
    }
    /// Scheduling control of CPU `node`.
    pub fn sched_control(&self, node: usize) -> Option<Slot<cap_type::SchedControl>> {
        let range = self.0.sched_control.start as usize..self.0.sched_control.end as usize;
        range.clone().nth(node).map(Slot::from_index)
    }
    /// Number of slots of the initial CNode, log2.
    pub fn init_cnode_size_bits(&self) -> usize {
        self.0.init_thread_cnode_size_bits as usize
    }
    /// Levels of I/O page tables, `None` without an IOMMU.
    pub fn io_pt_levels(&self) -> Option<usize> {
        match self.0.num_io_pt_levels {
            0 | Word::MAX => None,
            levels => Some(levels as usize),
        }
    }
    /// CPUs.
    pub fn num_nodes(&self) -> usize {
        self.0.num_nodes as usize
    }
    /// CPU of the initial thread.
    pub fn node_id(&self) -> usize {
        self.0.node_id as usize
    }
}

/// The boot information that the initial thread got.
#[derive(Debug, Clone, Copy)]
pub struct BootInfoPtr {
    frame: &'static BootInfo,
    extra: &'static [u8],
}

impl BootInfoPtr {
    /// From the address in RDI at entry.
    ///
    /// # Safety
    /// It must be the address of the boot information frame, mapped with its extra pages and never written.
    pub unsafe fn new(ptr: *const BootInfo) -> Self {
        // SAFETY: the caller's promise.
        let frame = unsafe { &*ptr };
        // SAFETY: the caller's promise: the extra chunks are mapped behind the frame, `extra_len` bytes of them.
        let extra = unsafe {
            core::slice::from_raw_parts(ptr.cast::<u8>().wrapping_add(FRAME), frame.0.extra_len as usize)
        };
        Self { frame, extra }
    }

    /// Its address.
    pub fn ptr(&self) -> *const BootInfo {
        self.frame
    }

    /// Address behind the last byte of the extra chunks, rounded up to pages.
    pub fn end(&self) -> usize {
        (self.extra.as_ptr() as usize + self.extra.len()).next_multiple_of(FRAME)
    }

    /// All bytes of the extra chunks.
    pub fn extra_slice(&self) -> &'static [u8] {
        self.extra
    }

    /// The extra chunks.
    pub fn extra(&self) -> BootInfoExtraIter<'static> {
        BootInfoExtraIter::new(self.extra)
    }

    /// Postern's extensions, `None` on a kernel without them.
    pub fn extensions(&self) -> Option<abi::Extensions> {
        extensions_from_extra(self.extra)
    }

    /// Frequency of the time-stamp counter, MHz.
    pub fn tsc_mhz(&self) -> Option<u32> {
        let chunk = self.extra().find(|chunk| chunk.id == abi::ID_TSC_FREQ)?;
        Some(u32::from_le_bytes(chunk.content.get(..4)?.try_into().ok()?))
    }
}

impl Deref for BootInfoPtr {
    type Target = BootInfo;
    fn deref(&self) -> &BootInfo {
        self.frame
    }
}

/// An extra chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootInfoExtra<'a> {
    /// One of `abi::bootinfo::ID_*`.
    pub id: Word,
    /// What follows the header.
    pub content: &'a [u8],
}

/// Goes over the extra chunks; ends at the first whose length is impossible.
#[derive(Debug, Clone)]
pub struct BootInfoExtraIter<'a> {
    rest: &'a [u8],
}

impl<'a> BootInfoExtraIter<'a> {
    /// Over the chunks in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for BootInfoExtraIter<'a> {
    type Item = BootInfoExtra<'a>;

    fn next(&mut self) -> Option<BootInfoExtra<'a>> {
        const HEADER: usize = size_of::<abi::ExtraHeader>();
        let id = u64::from_le_bytes(self.rest.get(..8)?.try_into().ok()?);
        let length = u64::from_le_bytes(self.rest.get(8..HEADER)?.try_into().ok()?);
        let content = self.rest.get(HEADER..usize::try_from(length).ok()?)?;
        self.rest = &self.rest[HEADER + content.len()..];
        Some(BootInfoExtra { id, content })
    }
}

/// Postern's extensions (X0) from the bytes of the extra chunks.
pub fn extensions_from_extra(extra: &[u8]) -> Option<abi::Extensions> {
    let chunk = BootInfoExtraIter::new(extra).find(|chunk| chunk.id == abi::ID_POSTERN)?;
    let word = |offset: usize| {
        chunk.content.get(offset..offset + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes)
    };
    Some(abi::Extensions {
        version: word(0)?,
        features: word(4)?,
        vcpu_backend: word(8)?,
        irte_count: word(12)?,
        first_label: word(16)?,
        first_type: word(20)?,
        dma_fault_slot: u64::from(word(24)?) | u64::from(word(28)?) << 32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(id: u64, content: &[u8]) -> Vec<u8> {
        let mut bytes = id.to_le_bytes().to_vec();
        bytes.extend((16 + content.len() as u64).to_le_bytes());
        bytes.extend(content);
        bytes
    }

    #[test]
    fn chunks_of_odd_lengths_follow_each_other() {
        let mut bytes = chunk(3, &[7; 36]);
        bytes.extend(chunk(5, &3000u32.to_le_bytes()));
        let found: Vec<_> = BootInfoExtraIter::new(&bytes).map(|c| (c.id, c.content.len())).collect();
        assert_eq!(found, [(3, 36), (5, 4)]);
    }

    #[test]
    fn impossible_lengths_end_the_walk() {
        for length in [0, 15, 18, u64::MAX] {
            let mut bytes = chunk(3, &[1]);
            bytes[8..16].copy_from_slice(&length.to_le_bytes());
            assert_eq!(BootInfoExtraIter::new(&bytes).count(), 0);
        }
        assert_eq!(BootInfoExtraIter::new(&[0; 15]).count(), 0);
        assert_eq!(BootInfoExtraIter::new(&[]).count(), 0);
    }

    #[test]
    fn extensions_are_read_word_by_word() {
        let mut content = Vec::new();
        for word in [1u32, 0x1f, 2, 256, 1024, 64, 0x1234, 1] {
            content.extend(word.to_le_bytes());
        }
        let mut bytes = chunk(5, &[0; 4]);
        bytes.extend(chunk(abi::ID_POSTERN, &content));
        let found = extensions_from_extra(&bytes).unwrap();
        assert_eq!((found.version, found.features, found.vcpu_backend), (1, 0x1f, 2));
        assert_eq!((found.irte_count, found.first_label, found.first_type), (256, 1024, 64));
        assert_eq!(found.dma_fault_slot, 0x1_0000_1234);
        assert_eq!(extensions_from_extra(&chunk(abi::ID_POSTERN, &content[..31])), None);
        assert_eq!(extensions_from_extra(&chunk(5, &content)), None);
    }
}
