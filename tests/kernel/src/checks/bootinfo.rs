// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel tells the initial thread, and how it starts.

use kernel_tests::env::at;
use kernel_tests::{Env, Outcome, check, check_eq, expect_error};
use sel4::abi::bootinfo as abi;
use sel4::init_thread::{Slot, slot};
use sel4::{CapRights, Error, cap_type};

kernel_tests::checks! {
    bootinfo_frame_follows_ipc_buffer_and_image,
    bootinfo_untypeds_are_aligned_and_apart,
    bootinfo_lists_device_untypeds_first,
    bootinfo_image_frames_are_contiguous,
    bootinfo_slot_regions_do_not_overlap,
    bootinfo_extra_chunks_are_in_order,
    bootinfo_has_the_extension_chunk,
    msi_window_and_interrupt_controllers_are_withheld,
    root_cnode_resolves_at_64_bits,
    initial_slots_hold_what_the_abi_says,
    only_domain_is_0_and_has_all_the_time,
}

fn bootinfo_frame_follows_ipc_buffer_and_image(env: &mut Env) -> Outcome {
    let ipc = env.bootinfo.ipc_buffer() as usize;
    check_eq!(ipc % 4096, 0, "offset of the IPC buffer in its page");
    check_eq!(env.bootinfo.ptr() as usize, ipc + 4096, "address of the boot information");
    check!(env.bootinfo.user_image_frames().len() > 4, "the image has no frames");
    check_eq!(env.bootinfo.num_nodes(), 1, "number of CPUs");
    check_eq!(env.bootinfo.inner().init_thread_domain, 0, "domain");
    check_eq!(
        env.bootinfo.inner().sched_control.end - env.bootinfo.inner().sched_control.start,
        1,
        "controls"
    );
    Ok(())
}

fn bootinfo_untypeds_are_aligned_and_apart(env: &mut Env) -> Outcome {
    let list = env.bootinfo.untyped_list();
    check!(list.len() == env.bootinfo.untyped().len() && !list.is_empty(), "list and slots differ");
    for (i, a) in list.iter().enumerate() {
        check!((4..=47).contains(&a.size_bits), "untyped {i} has 2^{} bytes", a.size_bits);
        check!(a.paddr % (1 << a.size_bits) == 0, "untyped {i} at {:#x} is not aligned", a.paddr);
        for b in &list[..i] {
            let apart = a.paddr + (1 << a.size_bits) <= b.paddr || b.paddr + (1 << b.size_bits) <= a.paddr;
            check!(apart, "untypeds at {:#x} and {:#x} overlap", a.paddr, b.paddr);
        }
    }
    let ram: u64 = list.iter().filter(|d| d.is_device == 0).map(|d| 1u64 << d.size_bits).sum();
    check!(ram >= 128 << 20, "only {ram:#x} bytes of RAM");
    Ok(())
}

fn bootinfo_lists_device_untypeds_first(env: &mut Env) -> Outcome {
    let list = env.bootinfo.untyped_list();
    let devices = list.iter().take_while(|d| d.is_device == 1).count();
    check!(devices > 0, "no device untypeds");
    check!(list[devices..].iter().all(|d| d.is_device == 0), "a device untyped after RAM");
    let hpet =
        list[..devices].iter().any(|d| d.paddr <= 0xfed0_0000 && 0xfed0_0000 < d.paddr + (1 << d.size_bits));
    check!(hpet, "no device untyped covers the HPET");
    let first_mib =
        list[..devices].iter().any(|d| d.paddr <= 0xb_8000 && 0xb_8000 < d.paddr + (1 << d.size_bits));
    check!(first_mib, "no device untyped covers the text buffer");
    Ok(())
}

fn bootinfo_image_frames_are_contiguous(env: &mut Env) -> Outcome {
    let mut expected = None;
    for index in env.bootinfo.user_image_frames() {
        let paddr = Slot::<cap_type::Granule>::from_index(index).cap().frame_get_address()?;
        if let Some(expected) = expected {
            check_eq!(paddr, expected, "address of an image frame");
        }
        expected = Some(paddr + 4096);
    }
    Ok(())
}

fn bootinfo_slot_regions_do_not_overlap(env: &mut Env) -> Outcome {
    let b = &env.bootinfo;
    let regions = [
        b.empty(),
        b.user_image_frames(),
        b.user_image_paging(),
        b.extra_bi_pages(),
        b.untyped(),
        b.inner().sched_control.start as usize..b.inner().sched_control.end as usize,
    ];
    let slots = 1 << b.init_cnode_size_bits();
    for (i, a) in regions.iter().enumerate() {
        check!(a.start >= 16 && a.end <= slots && a.start <= a.end, "region {i} is {a:x?}");
        for c in &regions[..i] {
            check!(a.end <= c.start || c.end <= a.start || a.is_empty() || c.is_empty(), "{a:x?} and {c:x?}");
        }
    }
    check!(b.empty().len() > 1024, "only {} empty slots", b.empty().len());
    Ok(())
}

fn bootinfo_extra_chunks_are_in_order(env: &mut Env) -> Outcome {
    let mut last = 0;
    let order = |id| match id {
        abi::ID_VBE => 1,
        abi::ID_RSDP => 2,
        abi::ID_FRAMEBUFFER => 3,
        abi::ID_MEMORY_MAP => 4,
        abi::ID_TSC_FREQ => 5,
        _ => 6,
    };
    let mut bytes = 0;
    for chunk in env.bootinfo.extra() {
        check!(order(chunk.id) >= last, "chunk {} is out of order", chunk.id);
        last = order(chunk.id);
        bytes += 16 + chunk.content.len();
        match chunk.id {
            abi::ID_RSDP => {
                check_eq!(chunk.content.len(), 36, "length of the RSDP");
                check!(chunk.content.starts_with(b"RSD PTR "), "no RSDP signature");
            }
            abi::ID_MEMORY_MAP => check_eq!(chunk.content.len(), 1204, "length of the memory map"),
            abi::ID_TSC_FREQ => check_eq!(chunk.content.len(), 4, "length of the frequency"),
            _ => {}
        }
    }
    check_eq!(bytes, env.bootinfo.inner().extra_len as usize, "bytes of the chunks");
    for id in [abi::ID_RSDP, abi::ID_MEMORY_MAP, abi::ID_TSC_FREQ] {
        check!(env.bootinfo.extra().filter(|c| c.id == id).count() == 1, "not one chunk {id}");
    }
    check!(
        env.bootinfo.tsc_mhz().is_some_and(|mhz| (100..10_000).contains(&mhz)),
        "{:?} MHz",
        env.bootinfo.tsc_mhz()
    );
    Ok(())
}

fn bootinfo_has_the_extension_chunk(env: &mut Env) -> Outcome {
    let Some(extensions) = env.bootinfo.extensions() else {
        check!(false, "no extension chunk");
        return Ok(());
    };
    check_eq!(extensions.version, 1, "version");
    check_eq!(extensions.first_label, 1024, "first label");
    check_eq!(extensions.first_type, 64, "first type");
    check!(extensions.vcpu_backend <= 2, "backend {}", extensions.vcpu_backend);
    let remapping = extensions.features & abi::FEATURE_DMA_REMAPPING != 0;
    check_eq!(env.bootinfo.io_pt_levels().is_some(), remapping, "presence of I/O page-table levels");
    check_eq!(
        extensions.dma_fault_slot != 0,
        extensions.features & abi::FEATURE_DMA_FAULTS != 0,
        "fault slot"
    );
    let interrupts = extensions.features & abi::FEATURE_INTERRUPT_REMAPPING != 0;
    check_eq!(extensions.irte_count != 0, interrupts, "presence of remapping entries");
    Ok(())
}

fn msi_window_and_interrupt_controllers_are_withheld(env: &mut Env) -> Outcome {
    let withheld = [(0xfee0_0000u64, 0x10_0000u64), (0xfec0_0000, 0x1000)];
    for desc in env.bootinfo.untyped_list() {
        for (start, length) in withheld {
            let apart = desc.paddr + (1 << desc.size_bits) <= start || start + length <= desc.paddr;
            check!(apart, "the untyped at {:#x} reaches into {start:#x}", desc.paddr);
        }
    }
    Ok(())
}

fn root_cnode_resolves_at_64_bits(env: &mut Env) -> Outcome {
    let source = slot::CNODE.cap().absolute_cptr_from_bits_with_depth(slot::TCB.index() as u64, 64);
    let copy = env.empty::<cap_type::Tcb>()?;
    at(copy).copy(&source, CapRights::all())?;
    // Without the guard there is no slot at that depth.
    let bits = env.bootinfo.init_cnode_size_bits();
    let shallow = slot::CNODE.cap().absolute_cptr_from_bits_with_depth(slot::TCB.index() as u64, bits);
    let other = env.empty::<cap_type::Tcb>()?;
    check!(at(other).copy(&shallow, CapRights::all()).is_err(), "resolved {bits} bits through a guard");
    Ok(())
}

fn initial_slots_hold_what_the_abi_says(env: &mut Env) -> Outcome {
    // Each can be used as what it is said to be.
    slot::IPC_BUFFER.cap().frame_get_address()?;
    slot::BOOT_INFO_FRAME.cap().frame_get_address()?;
    slot::SC.cap().sched_context_consumed()?;
    slot::DOMAIN_SET.cap().domain_set_set(0, slot::TCB.cap())?;
    let vspace = env.copy(slot::VSPACE.cap(), CapRights::all())?;
    at(vspace).delete()?;
    // A copy of an empty slot fails with the source's depth.
    let copy = env.empty::<cap_type::Null>()?;
    let result = at(copy).copy(&at(slot::NULL.cap()), CapRights::all());
    expect_error(result, Error::FailedLookup, &[1, 2, 64])
}

fn only_domain_is_0_and_has_all_the_time(env: &mut Env) -> Outcome {
    let domains = slot::DOMAIN_SET.cap();
    let tcb: sel4::cap::Tcb = env.make()?;
    domains.domain_set_set(0, tcb)?;
    expect_error(domains.domain_set_set(1, tcb), Error::InvalidArgument, &[0])?;
    // An entry, and the end marker behind it.
    domains.domain_set_schedule_configure(0, 0, 1)?;
    domains.domain_set_schedule_set_start(0)?;
    expect_error(domains.domain_set_schedule_configure(0, 0, 0), Error::InvalidArgument, &[2])?;
    expect_error(domains.domain_set_schedule_configure(0, 1, 1), Error::RangeError, &[0, 0])?;
    expect_error(domains.domain_set_schedule_configure(1, 0, 1), Error::RangeError, &[0, 0])?;
    expect_error(domains.domain_set_schedule_set_start(1), Error::InvalidArgument, &[0])?;
    expect_error(domains.domain_set_schedule_set_start(2), Error::RangeError, &[0, 1])
}
