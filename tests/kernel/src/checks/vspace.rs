// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address spaces: tables, frames, rights, page faults.

use kernel_tests::env::{HIGH, at};
use kernel_tests::{Env, Failure, Me, Outcome, check, check_eq, expect_error, space, thread};
use sel4::init_thread::slot;
use sel4::{CapRights, Error, Fault, VmAttributes, VmFault, cap, cap_type};

kernel_tests::checks! {
    frame_copies_map_the_same_memory,
    frame_map_tells_the_missing_level,
    frame_map_checks_address_and_alignment,
    frame_map_again_only_at_its_address,
    table_goes_into_an_empty_place_only,
    table_map_tells_the_missing_level,
    large_page_maps_2_mib,
    large_page_does_not_replace_a_table,
    unmapped_frame_faults,
    deleted_frame_is_unmapped,
    revoked_memory_is_unmapped,
    frame_copy_is_unmapped,
    read_only_mapping_faults_on_write,
    rights_of_the_capability_limit_the_mapping,
    fault_on_fetch_says_so,
    kernel_memory_is_not_the_users,
    unmapped_table_hides_its_pages,
    table_is_copied_only_while_mapped,
}

/// Where the checks map things: nothing of the initial thread is in this part of its address space.
pub const BASE: usize = 0x80_0000_0000;
const ATTRS: VmAttributes = VmAttributes::DEFAULT;
const RW: CapRights = CapRights::read_write();

/// A page of the address space for the check.
pub struct Window {
    address: usize,
}

impl Window {
    /// Makes the tables that the page needs.
    pub fn new(env: &mut Env) -> Outcome<Self> {
        space::map_tables(env, slot::VSPACE.cap(), BASE)?;
        Ok(Self { address: BASE })
    }

    /// Puts a frame there.
    pub fn map(&self, frame: cap::Granule, rights: CapRights) -> sel4::Result<()> {
        frame.frame_map(slot::VSPACE.cap(), self.address, rights, ATTRS)
    }

    /// Reads word `i`.
    pub fn read(&self, i: usize) -> u64 {
        peek(self.address + i * 8)
    }

    /// Writes word `i`.
    pub fn write(&self, i: usize, value: u64) {
        poke(self.address + i * 8, value);
    }
}

/// Reads a word anywhere. If nothing is mapped there the thread faults, which is what the checks look at.
#[inline(never)]
pub fn peek(address: usize) -> u64 {
    let value;
    // SAFETY: a check has mapped memory of its own there, or expects the fault.
    unsafe { core::arch::asm!("mov {}, [{}]", out(reg) value, in(reg) address, options(nostack, readonly)) };
    value
}

/// Writes a word anywhere.
#[inline(never)]
pub fn poke(address: usize, value: u64) {
    // SAFETY: a check has mapped memory of its own there, or expects the fault.
    unsafe { core::arch::asm!("mov [{}], {}", in(reg) address, in(reg) value, options(nostack)) };
}

/// Reads the word at args[0] into cell 0.
pub fn body_peek(me: &mut Me) {
    thread::put(0, peek(me.args[0] as usize));
}

/// Writes the word at args[0].
fn body_poke(me: &mut Me) {
    poke(me.args[0] as usize, 1);
}

/// Jumps to args[0].
fn body_jump(me: &mut Me) {
    // SAFETY: the address isn't mapped; the check expects the fault, and the thread doesn't go on.
    unsafe { core::arch::asm!("jmp {}", in(reg) me.args[0], options(noreturn)) };
}

/// The page fault that a thread makes.
#[track_caller]
fn fault(env: &mut Env, body: fn(&mut Me), address: usize) -> Outcome<VmFault> {
    let thread = env.spawn(HIGH, body, [address as u64, 0, 0, 0])?;
    match env.fault_of(thread)? {
        Fault::VmFault(fault) => Ok(fault),
        other => Err(Failure::new(format_args!("{other:x?} is no page fault"))),
    }
}

fn frame_copies_map_the_same_memory(env: &mut Env) -> Outcome {
    space::map_tables(env, slot::VSPACE.cap(), BASE)?;
    let frame: cap::Granule = env.make()?;
    let copy = env.copy(frame, CapRights::all())?;
    frame.frame_map(slot::VSPACE.cap(), BASE, RW, ATTRS)?;
    copy.frame_map(slot::VSPACE.cap(), BASE + 0x3000, RW, ATTRS)?;
    poke(BASE + 8, 0x1234_5678);
    check_eq!(peek(BASE + 0x3008), 0x1234_5678, "the word seen through the copy");
    check_eq!(frame.frame_get_address()?, copy.frame_get_address()?, "physical address");
    Ok(())
}

fn frame_map_tells_the_missing_level(env: &mut Env) -> Outcome {
    let frame: cap::Granule = env.make()?;
    let vspace = slot::VSPACE.cap();
    let level = || sel4::with_ipc_buffer(|buffer| buffer.msg_regs()[2]);
    expect_error(frame.frame_map(vspace, BASE, RW, ATTRS), Error::FailedLookup, &[])?;
    check_eq!(level(), 39, "level");
    env.make::<cap_type::Pdpt>()?.pdpt_map(vspace, BASE, ATTRS)?;
    expect_error(frame.frame_map(vspace, BASE, RW, ATTRS), Error::FailedLookup, &[])?;
    check_eq!(level(), 30, "level");
    env.make::<cap_type::PageDirectory>()?.page_directory_map(vspace, BASE, ATTRS)?;
    expect_error(frame.frame_map(vspace, BASE, RW, ATTRS), Error::FailedLookup, &[])?;
    check_eq!(level(), 21, "level");
    env.make::<cap_type::PageTable>()?.page_table_map(vspace, BASE, ATTRS)?;
    frame.frame_map(vspace, BASE, RW, ATTRS)?;
    Ok(())
}

fn frame_map_checks_address_and_alignment(env: &mut Env) -> Outcome {
    space::map_tables(env, slot::VSPACE.cap(), BASE)?;
    let frame: cap::Granule = env.make()?;
    let vspace = slot::VSPACE.cap();
    expect_error(frame.frame_map(vspace, BASE + 8, RW, ATTRS), Error::AlignmentError, &[])?;
    for address in [0x8000_0000_0000, 0xffff_8000_0000_0000, usize::MAX & !0xfff] {
        expect_error(frame.frame_map(vspace, address, RW, ATTRS), Error::InvalidArgument, &[0])?;
    }
    let endpoint: cap::Endpoint = env.make()?;
    let result = frame.frame_map(cap::VSpace::from_bits(endpoint.bits()), BASE, RW, ATTRS);
    expect_error(result, Error::InvalidCapability, &[1])
}

fn frame_map_again_only_at_its_address(env: &mut Env) -> Outcome {
    space::map_tables(env, slot::VSPACE.cap(), BASE)?;
    let frame: cap::Granule = env.make()?;
    let vspace = slot::VSPACE.cap();
    frame.frame_map(vspace, BASE, RW, ATTRS)?;
    check!(frame.frame_map(vspace, BASE + 0x1000, RW, ATTRS).is_err(), "mapped at two addresses");
    // The same address again changes the rights.
    frame.frame_map(vspace, BASE, CapRights::read_only(), ATTRS)?;
    let fault = fault(env, body_poke, BASE)?;
    check_eq!(fault.addr, BASE as u64, "fault address");
    Ok(())
}

fn table_goes_into_an_empty_place_only(env: &mut Env) -> Outcome {
    let vspace = slot::VSPACE.cap();
    space::map_tables(env, vspace, BASE)?;
    let table: cap::PageTable = env.make()?;
    expect_error(table.page_table_map(vspace, BASE, ATTRS), Error::DeleteFirst, &[])?;
    let directory: cap::PageDirectory = env.make()?;
    expect_error(directory.page_directory_map(vspace, BASE, ATTRS), Error::DeleteFirst, &[])?;
    let pdpt: cap::Pdpt = env.make()?;
    expect_error(pdpt.pdpt_map(vspace, BASE, ATTRS), Error::DeleteFirst, &[])?;
    // Beside it there is room.
    table.page_table_map(vspace, BASE + (1 << 21), ATTRS)?;
    check!(table.page_table_map(vspace, BASE + (2 << 21), ATTRS).is_err(), "one table at two places");
    Ok(())
}

fn table_map_tells_the_missing_level(env: &mut Env) -> Outcome {
    let vspace = slot::VSPACE.cap();
    let level = || sel4::with_ipc_buffer(|buffer| buffer.msg_regs()[2]);
    let table: cap::PageTable = env.make()?;
    let directory: cap::PageDirectory = env.make()?;
    expect_error(table.page_table_map(vspace, BASE, ATTRS), Error::FailedLookup, &[])?;
    check_eq!(level(), 39, "level");
    expect_error(directory.page_directory_map(vspace, BASE, ATTRS), Error::FailedLookup, &[])?;
    check_eq!(level(), 39, "level");
    env.make::<cap_type::Pdpt>()?.pdpt_map(vspace, BASE, ATTRS)?;
    expect_error(table.page_table_map(vspace, BASE, ATTRS), Error::FailedLookup, &[])?;
    check_eq!(level(), 30, "level");
    Ok(())
}

fn large_page_maps_2_mib(env: &mut Env) -> Outcome {
    let vspace = slot::VSPACE.cap();
    env.make::<cap_type::Pdpt>()?.pdpt_map(vspace, BASE, ATTRS)?;
    env.make::<cap_type::PageDirectory>()?.page_directory_map(vspace, BASE, ATTRS)?;
    let large: cap::LargePage = env.make()?;
    expect_error(large.frame_map(vspace, BASE + 0x1000, RW, ATTRS), Error::AlignmentError, &[])?;
    large.frame_map(vspace, BASE, RW, ATTRS)?;
    for offset in [0, 0x1000, 0x1f_fff8] {
        check_eq!(peek(BASE + offset), 0, "a word of new memory");
        poke(BASE + offset, 0x5a5a + offset as u64);
    }
    check_eq!(peek(BASE + 0x1f_fff8), 0x5a5a + 0x1f_fff8, "the last word");
    check_eq!(large.frame_get_address()? % (1 << 21), 0, "alignment");
    large.frame_unmap()?;
    check_eq!(fault(env, body_peek, BASE + 0x1000)?.fsr, 4, "error code");
    Ok(())
}

fn large_page_does_not_replace_a_table(env: &mut Env) -> Outcome {
    space::map_tables(env, slot::VSPACE.cap(), BASE)?;
    let large: cap::LargePage = env.make()?;
    expect_error(large.frame_map(slot::VSPACE.cap(), BASE, RW, ATTRS), Error::DeleteFirst, &[])
}

fn unmapped_frame_faults(env: &mut Env) -> Outcome {
    let page = Window::new(env)?;
    let frame: cap::Granule = env.make()?;
    page.map(frame, RW)?;
    page.write(0, 1);
    frame.frame_unmap()?;
    let fault = fault(env, body_poke, BASE + 0x18)?;
    check_eq!(fault.addr, BASE as u64 + 0x18, "fault address");
    check!(!fault.is_prefetch, "called a fetch");
    check_eq!(fault.fsr, 6, "error code (user, write, not present)");
    let code = (body_poke as *const () as u64, poke as *const () as u64);
    check!(fault.ip >= code.0.min(code.1).saturating_sub(64), "instruction pointer {:#x}", fault.ip);
    // Unmapping once more does nothing.
    frame.frame_unmap()?;
    Ok(())
}

fn deleted_frame_is_unmapped(env: &mut Env) -> Outcome {
    let page = Window::new(env)?;
    let frame: cap::Granule = env.make()?;
    page.map(frame, RW)?;
    page.write(0, 1);
    at(frame).delete()?;
    check_eq!(fault(env, body_peek, BASE)?.fsr, 4, "error code (user, read, not present)");
    Ok(())
}

fn revoked_memory_is_unmapped(env: &mut Env) -> Outcome {
    let page = Window::new(env)?;
    let untyped = env.untyped(12)?;
    let frame = env.empty::<cap_type::Granule>()?;
    let blueprint = sel4::ObjectBlueprint::Arch(sel4::ObjectBlueprintX86::_4k);
    untyped.untyped_retype(&blueprint, &kernel_tests::env::own_cnode(), frame.bits() as usize, 1)?;
    let copy = env.copy(frame, CapRights::all())?;
    page.map(copy, RW)?;
    page.write(0, 1);
    at(untyped).revoke()?;
    check_eq!(fault(env, body_peek, BASE)?.addr, BASE as u64, "fault address");
    Ok(())
}

fn frame_copy_is_unmapped(env: &mut Env) -> Outcome {
    let page = Window::new(env)?;
    let frame: cap::Granule = env.make()?;
    page.map(frame, RW)?;
    let copy = env.copy(frame, CapRights::all())?;
    copy.frame_unmap()?;
    page.write(0, 7);
    at(copy).delete()?;
    check_eq!(page.read(0), 7, "the word behind the first capability's mapping");
    Ok(())
}

fn read_only_mapping_faults_on_write(env: &mut Env) -> Outcome {
    let page = Window::new(env)?;
    let frame: cap::Granule = env.make()?;
    page.map(frame, CapRights::read_only())?;
    check_eq!(page.read(3), 0, "a word");
    let fault = fault(env, body_poke, BASE)?;
    check_eq!(fault.fsr, 7, "error code (user, write, present)");
    Ok(())
}

fn rights_of_the_capability_limit_the_mapping(env: &mut Env) -> Outcome {
    let page = Window::new(env)?;
    let frame: cap::Granule = env.make()?;
    let reader = env.copy(frame, CapRights::read_only())?;
    page.map(reader, RW)?;
    check_eq!(fault(env, body_poke, BASE)?.fsr, 7, "error code (user, write, present)");
    Ok(())
}

fn fault_on_fetch_says_so(env: &mut Env) -> Outcome {
    let fault = fault(env, body_jump, BASE)?;
    check_eq!(fault.ip, BASE as u64, "instruction pointer");
    check_eq!(fault.addr, BASE as u64, "fault address");
    check!(fault.is_prefetch, "not called a fetch");
    check_eq!(fault.fsr & !0x10, 4, "error code");
    Ok(())
}

fn kernel_memory_is_not_the_users(env: &mut Env) -> Outcome {
    for address in [0xffff_ff80_0010_0000usize, 0xffff_ffff_8010_0000, 0xffff_8000_0010_0000] {
        let fault = fault(env, body_peek, address)?;
        check_eq!(fault.addr, address as u64, "fault address");
        check!(fault.fsr & 4 != 0, "error code {:#x} is not the user's", fault.fsr);
        check_eq!(thread::get(0), 0, "what was read");
    }
    Ok(())
}

fn unmapped_table_hides_its_pages(env: &mut Env) -> Outcome {
    let vspace = slot::VSPACE.cap();
    env.make::<cap_type::Pdpt>()?.pdpt_map(vspace, BASE, ATTRS)?;
    env.make::<cap_type::PageDirectory>()?.page_directory_map(vspace, BASE, ATTRS)?;
    let table: cap::PageTable = env.make()?;
    table.page_table_map(vspace, BASE, ATTRS)?;
    let frame: cap::Granule = env.make()?;
    frame.frame_map(vspace, BASE, RW, ATTRS)?;
    poke(BASE, 1);
    table.page_table_unmap()?;
    check_eq!(fault(env, body_peek, BASE)?.fsr, 4, "error code");
    Ok(())
}

fn table_is_copied_only_while_mapped(env: &mut Env) -> Outcome {
    let table: cap::PageTable = env.make()?;
    let copy = env.empty::<cap_type::PageTable>()?;
    // Tables are copied only while they are mapped: a copy of an unmapped one could be mapped elsewhere.
    expect_error(at(copy).copy(&at(table), CapRights::all()), Error::IllegalOperation, &[])?;
    space::map_tables(env, slot::VSPACE.cap(), BASE)?;
    table.page_table_map(slot::VSPACE.cap(), BASE + (1 << 21), ATTRS)?;
    at(copy).copy(&at(table), CapRights::all())?;
    Ok(())
}
