// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boot information: one page, then extra chunks from the next page on.

/// Most untyped capabilities that are described.
pub const MAX_UNTYPED: usize = 230;

/// A region of slots, `end` exclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SlotRegion {
    /// First slot.
    pub start: u64,
    /// First slot after the region.
    pub end: u64,
}

/// Description of one initial untyped capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UntypedDesc {
    /// Physical address.
    pub paddr: u64,
    /// Log2 of the size, bytes.
    pub size_bits: u8,
    /// 1 for a device untyped.
    pub is_device: u8,
    /// Zero.
    pub padding: [u8; 6],
}

/// The boot information frame.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct BootInfo {
    /// Bytes of extra chunks.
    pub extra_len: u64,
    /// CPU of this initial thread.
    pub node_id: u64,
    /// CPUs.
    pub num_nodes: u64,
    /// Levels of I/O page tables; 0 without an IOMMU.
    pub num_io_pt_levels: u64,
    /// Address of the initial thread's IPC buffer.
    pub ipc_buffer: u64,
    /// Empty slots.
    pub empty: SlotRegion,
    /// Unused.
    pub shared_frames: SlotRegion,
    /// Frames of the root server's image, ascending.
    pub user_image_frames: SlotRegion,
    /// Tables that map it.
    pub user_image_paging: SlotRegion,
    /// Unused.
    pub io_space_caps: SlotRegion,
    /// Frames of the extra chunks.
    pub extra_bi_pages: SlotRegion,
    /// Log2 of the number of slots of the initial CNode.
    pub init_thread_cnode_size_bits: u64,
    /// Domain of the initial thread.
    pub init_thread_domain: u64,
    /// One `SchedControl` per CPU.
    pub sched_control: SlotRegion,
    /// Untyped capabilities, devices' first.
    pub untyped: SlotRegion,
    /// Their descriptions, in the same order.
    pub untyped_list: [UntypedDesc; MAX_UNTYPED],
}

const _: () = {
    assert!(core::mem::size_of::<BootInfo>() == 3864);
    assert!(core::mem::offset_of!(BootInfo, init_thread_cnode_size_bits) == 136);
    assert!(core::mem::offset_of!(BootInfo, untyped_list) == 184);
};

/// Header of an extra chunk.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ExtraHeader {
    /// One of the `ID_*` constants.
    pub id: u64,
    /// Bytes, with this header.
    pub len: u64,
}

/// Padding.
pub const ID_PADDING: u64 = 0;
/// VBE information.
pub const ID_VBE: u64 = 1;
/// Memory map as multiboot 1 lays it out: u32 bytes used, then 50 packed entries of {u32 20, u64 base, u64 length, u32 type}.
pub const ID_MEMORY_MAP: u64 = 2;
/// Copy of the RSDP, 36 bytes.
pub const ID_RSDP: u64 = 3;
/// Framebuffer.
pub const ID_FRAMEBUFFER: u64 = 4;
/// TSC frequency, u32 MHz.
pub const ID_TSC_FREQ: u64 = 5;
/// Postern's extensions (X0).
pub const ID_POSTERN: u64 = 0x504F_5354;

/// Payload of the chunk [`ID_POSTERN`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Extensions {
    /// 1.
    pub version: u32,
    /// `FEATURE_*` bits.
    pub features: u32,
    /// `BACKEND_*`.
    pub vcpu_backend: u32,
    /// Entries of the interrupt remapping table.
    pub irte_count: u32,
    /// First invocation label of the extensions.
    pub first_label: u32,
    /// First object type of the extensions.
    pub first_type: u32,
    /// CSpace slot of the DMA-fault control capability, 0 if none.
    pub dma_fault_slot: u64,
}

/// DMA remapping is on.
pub const FEATURE_DMA_REMAPPING: u32 = 1 << 0;
/// Interrupt remapping is on.
pub const FEATURE_INTERRUPT_REMAPPING: u32 = 1 << 1;
/// DMA pages of 2 MiB.
pub const FEATURE_DMA_2M: u32 = 1 << 2;
/// DMA pages of 1 GiB.
pub const FEATURE_DMA_1G: u32 = 1 << 3;
/// DMA faults are reported.
pub const FEATURE_DMA_FAULTS: u32 = 1 << 4;
/// Pages can be mapped so that a guest can't execute them.
pub const FEATURE_NESTED_NO_EXECUTE: u32 = 1 << 5;
/// Guest entries flush the L1 data cache, if nothing else is asked for.
pub const FEATURE_AUTO_L1D: u32 = 1 << 8;
/// They clear the processor's buffers.
pub const FEATURE_AUTO_BUFFERS: u32 = 1 << 9;
/// They begin with a barrier for branch predictions where the VM changes.
pub const FEATURE_AUTO_PREDICTORS: u32 = 1 << 10;
/// The L1 data cache is flushed by a register; else it is filled.
pub const FEATURE_FLUSH_REGISTER: u32 = 1 << 11;
/// The processor can clear its buffers.
pub const FEATURE_BUFFERS: u32 = 1 << 12;
/// It has the barrier.
pub const FEATURE_PREDICTORS: u32 = 1 << 13;
/// No virtualization.
pub const BACKEND_NONE: u32 = 0;
/// Intel VT-x.
pub const BACKEND_VTX: u32 = 1;
/// AMD SVM.
pub const BACKEND_SVM: u32 = 2;
