// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual machine control block (APM volume 2, appendix B): 4 KiB, the control area at 0, the save area at 0x400.
//!
//! The order of the fields is the hardware's; the offsets are asserted below. Control blocks are host-physical and
//! 4 KiB aligned.

/// Control area (table B-1), 0x400 bytes.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct Control {
    /// CR reads intercepted (bits 0..16) and writes (16..32).
    pub intercept_cr: u32,
    /// DR reads intercepted (bits 0..16) and writes (16..32).
    pub intercept_dr: u32,
    /// Exception vectors intercepted.
    pub intercept_exceptions: u32,
    /// First word of instruction and event intercepts ([`crate::intercept`]).
    pub intercept_misc1: u32,
    /// Second word.
    pub intercept_misc2: u32,
    /// Third word.
    pub intercept_misc3: u32,
    reserved_018: [u8; 0x24],
    /// Cycles between PAUSEs that restart the count.
    pub pause_filter_threshold: u16,
    /// PAUSEs before an exit.
    pub pause_filter_count: u16,
    /// Host-physical address of the I/O permission map, 4 KiB aligned.
    pub iopm_base: u64,
    /// Host-physical address of the MSR permission map, 4 KiB aligned.
    pub msrpm_base: u64,
    /// Added to the time-stamp counter for the guest, ticks.
    pub tsc_offset: u64,
    /// Address-space identifier, never 0 for a guest.
    pub asid: u32,
    /// What VMRUN flushes: see [`tlb_control`].
    pub tlb_control: u32,
    /// Virtual interrupt control: see [`int_ctl`].
    pub int_ctl: u64,
    /// Bit 0: the guest is in an interrupt shadow.
    pub interrupt_shadow: u64,
    /// EXITCODE: see [`crate::exit`].
    pub exit_code: u64,
    /// EXITINFO1.
    pub exit_info1: u64,
    /// EXITINFO2.
    pub exit_info2: u64,
    /// EXITINTINFO: the event whose delivery the exit interrupted.
    pub exit_int_info: u64,
    /// Bit 0: nested paging.
    pub nested_control: u64,
    /// AVIC's APIC base.
    pub avic_apic_bar: u64,
    /// GHCB address of encrypted guests.
    pub ghcb: u64,
    /// EVENTINJ: the event that VMRUN delivers.
    pub event_inj: u64,
    /// Host-physical address of the nested top-level table.
    pub n_cr3: u64,
    /// Bit 0: last-branch records; bit 1: virtual VMLOAD and VMSAVE.
    pub virt_ext: u64,
    /// Clean bits; 0: the processor caches nothing of this block.
    pub clean: u64,
    /// Next sequential RIP of an instruction intercept, where the processor has it.
    pub next_rip: u64,
    /// Number of instruction bytes that follow.
    pub bytes_fetched: u8,
    /// Instruction bytes of a fault, where the processor has them.
    pub instruction_bytes: [u8; 15],
    /// AVIC's backing page.
    pub avic_backing_page: u64,
    reserved_0e8: u64,
    /// AVIC's logical table.
    pub avic_logical_table: u64,
    /// AVIC's physical table.
    pub avic_physical_table: u64,
    reserved_100: [u8; 0x300],
}

/// A segment register in the save area.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Attributes, 12 bits: type 0..4, S 4, DPL 5..7, P 7, AVL 8, L 9, D/B 10, G 11.
    pub attributes: u16,
    /// Limit, bytes.
    pub limit: u32,
    /// Base, a linear address.
    pub base: u64,
}

/// State save area (table B-2), 0xc00 bytes.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct Save {
    /// ES CS SS DS FS GS GDTR LDTR IDTR TR, in that order: see [`segment`].
    pub segments: [Segment; 10],
    reserved_0a0: [u8; 0x2b],
    /// Current privilege level.
    pub cpl: u8,
    reserved_0cc: u32,
    /// EFER.
    pub efer: u64,
    reserved_0d8: [u8; 0x70],
    /// CR4.
    pub cr4: u64,
    /// CR3.
    pub cr3: u64,
    /// CR0.
    pub cr0: u64,
    /// DR7.
    pub dr7: u64,
    /// DR6.
    pub dr6: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// RIP.
    pub rip: u64,
    reserved_180: [u8; 0x58],
    /// RSP.
    pub rsp: u64,
    /// S_CET.
    pub s_cet: u64,
    /// SSP.
    pub ssp: u64,
    /// Interrupt shadow-stack table.
    pub isst: u64,
    /// RAX.
    pub rax: u64,
    /// STAR.
    pub star: u64,
    /// LSTAR.
    pub lstar: u64,
    /// CSTAR.
    pub cstar: u64,
    /// SFMASK.
    pub sfmask: u64,
    /// KernelGSBase.
    pub kernel_gs_base: u64,
    /// SYSENTER_CS.
    pub sysenter_cs: u64,
    /// SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// CR2.
    pub cr2: u64,
    reserved_248: [u8; 0x20],
    /// The guest's page-attribute table; used with nested paging.
    pub g_pat: u64,
    /// DEBUGCTL.
    pub debug_control: u64,
    /// Last-branch records.
    pub last_branch: [u64; 4],
    reserved_298: [u8; 0x968],
}

/// A whole control block.
#[derive(Debug, Clone)]
#[repr(C, align(4096))]
pub struct Vmcb {
    /// Control area.
    pub control: Control,
    /// State save area.
    pub save: Save,
}

/// Indices into [`Save::segments`].
pub mod segment {
    #![allow(missing_docs)]
    pub const ES: usize = 0;
    pub const CS: usize = 1;
    pub const SS: usize = 2;
    pub const DS: usize = 3;
    pub const FS: usize = 4;
    pub const GS: usize = 5;
    pub const GDTR: usize = 6;
    pub const LDTR: usize = 7;
    pub const IDTR: usize = 8;
    pub const TR: usize = 9;
    /// Attribute bit 9 of a code segment: 64-bit code.
    pub const LONG: u16 = 1 << 9;
    /// Attribute bit 10: 32-bit default size.
    pub const DEFAULT_BIG: u16 = 1 << 10;
}

/// Values of [`Control::tlb_control`] (APM 15.16.1).
pub mod tlb_control {
    /// Flush nothing.
    pub const NOTHING: u32 = 0;
    /// Flush every ASID, the host's too.
    pub const ALL: u32 = 1;
    /// Flush this guest's entries; needs the FlushByAsid feature.
    pub const THIS_ASID: u32 = 3;
}

/// Bits of [`Control::int_ctl`] (APM 15.21).
pub mod int_ctl {
    /// A virtual interrupt is pending.
    pub const V_IRQ: u64 = 1 << 8;
    /// Priority of the virtual interrupt: the highest.
    pub const V_INTR_PRIO: u64 = 0xf << 16;
    /// The virtual interrupt ignores V_TPR.
    pub const V_IGN_TPR: u64 = 1 << 20;
    /// RFLAGS.IF of the host masks physical interrupts, that of the guest virtual ones.
    pub const V_INTR_MASKING: u64 = 1 << 24;
}

/// Bit 0 of [`Control::nested_control`].
pub const NESTED_PAGING: u64 = 1;

macro_rules! offsets {
    ($type:ty, $base:expr, $($field:ident = $offset:expr),+ $(,)?) => {
        $(assert!($base + core::mem::offset_of!($type, $field) == $offset);)+
    };
}

const _: () = {
    assert!(core::mem::size_of::<Vmcb>() == 0x1000);
    assert!(core::mem::size_of::<Control>() == 0x400);
    assert!(core::mem::size_of::<Save>() == 0xc00);
    assert!(core::mem::size_of::<Segment>() == 16);
    assert!(core::mem::offset_of!(Vmcb, save) == 0x400);
    offsets!(Control, 0, intercept_cr = 0x000, intercept_dr = 0x004, intercept_exceptions = 0x008);
    offsets!(Control, 0, intercept_misc1 = 0x00c, intercept_misc2 = 0x010, intercept_misc3 = 0x014);
    offsets!(Control, 0, pause_filter_threshold = 0x03c, pause_filter_count = 0x03e, iopm_base = 0x040);
    offsets!(Control, 0, msrpm_base = 0x048, tsc_offset = 0x050, asid = 0x058, tlb_control = 0x05c);
    offsets!(Control, 0, int_ctl = 0x060, interrupt_shadow = 0x068, exit_code = 0x070, exit_info1 = 0x078);
    offsets!(Control, 0, exit_info2 = 0x080, exit_int_info = 0x088, nested_control = 0x090);
    offsets!(Control, 0, avic_apic_bar = 0x098, ghcb = 0x0a0, event_inj = 0x0a8, n_cr3 = 0x0b0);
    offsets!(Control, 0, virt_ext = 0x0b8, clean = 0x0c0, next_rip = 0x0c8, bytes_fetched = 0x0d0);
    offsets!(Control, 0, instruction_bytes = 0x0d1, avic_backing_page = 0x0e0, avic_logical_table = 0x0f0);
    offsets!(Control, 0, avic_physical_table = 0x0f8);
    offsets!(Save, 0x400, segments = 0x400, cpl = 0x4cb, efer = 0x4d0, cr4 = 0x548, cr3 = 0x550);
    offsets!(Save, 0x400, cr0 = 0x558, dr7 = 0x560, dr6 = 0x568, rflags = 0x570, rip = 0x578, rsp = 0x5d8);
    offsets!(Save, 0x400, s_cet = 0x5e0, ssp = 0x5e8, isst = 0x5f0, rax = 0x5f8, star = 0x600);
    offsets!(Save, 0x400, lstar = 0x608, cstar = 0x610, sfmask = 0x618, kernel_gs_base = 0x620);
    offsets!(Save, 0x400, sysenter_cs = 0x628, sysenter_esp = 0x630, sysenter_eip = 0x638, cr2 = 0x640);
    offsets!(Save, 0x400, g_pat = 0x668, debug_control = 0x670, last_branch = 0x678);
};

impl Control {
    /// Everything zero: no intercept, no map, no ASID. VMRUN refuses it.
    pub const ZERO: Self = Self {
        intercept_cr: 0,
        intercept_dr: 0,
        intercept_exceptions: 0,
        intercept_misc1: 0,
        intercept_misc2: 0,
        intercept_misc3: 0,
        reserved_018: [0; 0x24],
        pause_filter_threshold: 0,
        pause_filter_count: 0,
        iopm_base: 0,
        msrpm_base: 0,
        tsc_offset: 0,
        asid: 0,
        tlb_control: 0,
        int_ctl: 0,
        interrupt_shadow: 0,
        exit_code: 0,
        exit_info1: 0,
        exit_info2: 0,
        exit_int_info: 0,
        nested_control: 0,
        avic_apic_bar: 0,
        ghcb: 0,
        event_inj: 0,
        n_cr3: 0,
        virt_ext: 0,
        clean: 0,
        next_rip: 0,
        bytes_fetched: 0,
        instruction_bytes: [0; 15],
        avic_backing_page: 0,
        reserved_0e8: 0,
        avic_logical_table: 0,
        avic_physical_table: 0,
        reserved_100: [0; 0x300],
    };
}

impl Segment {
    /// A null register.
    pub const NULL: Self = Self { selector: 0, attributes: 0, limit: 0, base: 0 };

    const fn real(selector: u16, attributes: u16, base: u64) -> Self {
        Self { selector, attributes, limit: 0xffff, base }
    }
}

impl Save {
    /// The state of a processor after reset (APM volume 2, table 14-1), with SVME set as VMRUN wants it and the
    /// power-on page-attribute table.
    pub const RESET: Self = {
        const DATA: Segment = Segment::real(0, 0x093, 0);
        const CODE: Segment = Segment::real(0xf000, 0x09b, 0xffff_0000);
        const TABLE: Segment = Segment::real(0, 0, 0);
        const LDT: Segment = Segment::real(0, 0x082, 0);
        const TASK: Segment = Segment::real(0, 0x08b, 0);
        Self {
            segments: [DATA, CODE, DATA, DATA, DATA, DATA, TABLE, LDT, TABLE, TASK],
            reserved_0a0: [0; 0x2b],
            cpl: 0,
            reserved_0cc: 0,
            efer: crate::limits::EFER_SVME,
            reserved_0d8: [0; 0x70],
            cr4: 0,
            cr3: 0,
            cr0: 0x6000_0010,
            dr7: 0x400,
            dr6: 0xffff_0ff0,
            rflags: 2,
            rip: 0xfff0,
            reserved_180: [0; 0x58],
            rsp: 0,
            s_cet: 0,
            ssp: 0,
            isst: 0,
            rax: 0,
            star: 0,
            lstar: 0,
            cstar: 0,
            sfmask: 0,
            kernel_gs_base: 0,
            sysenter_cs: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            cr2: 0,
            reserved_248: [0; 0x20],
            g_pat: crate::limits::PAT_RESET,
            debug_control: 0,
            last_branch: [0; 4],
            reserved_298: [0; 0x968],
        }
    };
}

impl Vmcb {
    /// No intercepts, reset state.
    pub const RESET: Self = Self { control: Control::ZERO, save: Save::RESET };
}
