// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a hostile guest would have its device do. The device can't tell whether its accesses were let through, so the verdict is the host's:
//! it looks at the memory aimed at and at the log of DMA faults.

use crate::device::{Edu, Transfer, runs};
use crate::selftest::pattern;
use alloc::vec;
use guest_runtime::checks::Checks;
use guest_runtime::pci::Message;
use guest_runtime::{boot, dma::Buffer, irq, println, time};

const BYTES: usize = 64;
/// What fills the target page of [`start`]: the host knows it by that, wherever it lies.
const CANARY: &[u8; 16] = b"PENDING-CANARY--";

/// Writes 64 bytes by DMA to `address`.
pub fn write(edu: &Edu, address: u64, checks: &mut Checks) {
    let mut from = Buffer::new(BYTES);
    from.write(0, &pattern(BYTES));
    edu.dma(Transfer::FromRam(from.address()), BYTES);
    edu.dma(Transfer::ToRam(address), BYTES);
    println!("edu: dma-to {address:#x}, {BYTES} bytes: the device is done");
    checks.report("dma-to-command-ends", Ok::<(), &str>(()));
}

/// Reads 64 bytes by DMA from `address` and prints what came.
pub fn read(edu: &Edu, address: u64, checks: &mut Checks) {
    let mut memory = Buffer::new(BYTES);
    memory.write(0, &pattern(BYTES));
    // Known content first: where the read is blocked, the device's buffer keeps it or holds zeros.
    edu.dma(Transfer::FromRam(memory.address()), BYTES);
    edu.dma(Transfer::FromRam(address), BYTES);
    edu.dma(Transfer::ToRam(memory.address()), BYTES);
    checks.report("dma-from-commands-end", Ok::<(), &str>(()));
    let mut got = vec![0; BYTES];
    memory.read(0, &mut got);
    let kind = if got == pattern(BYTES) {
        "unchanged"
    } else if got.iter().all(|byte| *byte == 0) {
        "zeros"
    } else {
        "foreign bytes"
    };
    println!("edu: dma-from {address:#x}, {BYTES} bytes: {kind}");
    for row in got.chunks(16) {
        println!("edu:   {row:02x?}");
    }
}

/// Waits until the device is gone, and does with it what a driver might that hasn't noticed, and what one might that has.
pub fn gone(edu: &Edu, checks: &mut Checks) {
    let (there, function) = (edu.identification(), edu.function());
    println!("edu: waiting for its end");
    while edu.identification() == there {
        time::sleep_until(time::now() + 1_000_000);
    }
    println!("edu: the device is gone: {:#x}", edu.identification());
    let memory = Buffer::new(4096);
    for round in 0..100 {
        edu.start_dma(Transfer::ToRam(memory.address()), BYTES, true);
        edu.start_factorial(5, true);
        edu.raise(1);
        edu.acknowledge();
        edu.program(Message { address: 0xfee0_0000 | round << 4, data: round as u32 });
    }
    let config = function.config();
    for offset in (0x04..0x100).step_by(4) {
        let before = config.read32(offset);
        for value in [u32::MAX, 0, before] {
            config.write32(offset, value);
        }
    }
    function.disable_bus_mastering();
    function.enable();
    function.reset();
    function.enable();
    edu.program(edu.own_message());
    let before = runs();
    edu.raise(1);
    time::sleep_until(time::now() + 20_000_000);
    checks.equal("gone-and-silent", runs(), before);
    println!("edu: configuration space begins with {:#x}", config.read32(0));
}

/// What isn't RAM in the machine: configuration space, I/O APIC, HPET, the remapping unit, flash. (Not the messages' page: writes there
/// are another matter.)
const OTHERS: [u64; 8] =
    [0xb000_0000, 0xb010_0000, 0xb020_0000, 0xfec0_0000, 0xfed0_0000, 0xfed9_0000, 0xff00_0000, 0xffff_f000];

/// Writes and reads by DMA at every MiB from the end of the guest's own memory to `end`, at every MiB of the window where devices' registers
/// lie, and at those others. What is written is known to the host, wherever it lands; what is read must be nothing.
pub fn scan(edu: &Edu, end: u64, checks: &mut Checks) {
    const MIB: u64 = 1 << 20;
    let usable = boot::memory_map().iter().filter(|region| region.usable);
    let own = usable.map(|region| region.start + region.bytes).max().unwrap_or(0);
    let mut memory = Buffer::new(BYTES);
    // At another place in each MiB, so that pages of all kinds come up.
    let ram = (own.next_multiple_of(MIB)..end).step_by(MIB as usize).map(|at| at + at / MIB * 0x3040 % MIB);
    let window = (0xfe00_0000..0xfec0_0000).step_by(MIB as usize);
    let (mut tried, mut foreign) = (0, 0);
    for address in ram.chain(window).chain(OTHERS) {
        memory.write(0, &pattern(BYTES));
        sleeping(edu, Transfer::FromRam(memory.address()));
        sleeping(edu, Transfer::ToRam(address));
        sleeping(edu, Transfer::FromRam(address));
        sleeping(edu, Transfer::ToRam(memory.address()));
        let mut got = vec![0; BYTES];
        memory.read(0, &mut got);
        tried += 1;
        if got != pattern(BYTES) && got.iter().any(|byte| *byte != 0) {
            foreign += 1;
            println!("edu: at {address:#x} lies {got:02x?}");
        }
    }
    // What the host is to look for stays in memory once.
    memory.write(0, &pattern(BYTES));
    let _ = memory.into_raw();
    println!("edu: {tried} places were written to and read from");
    checks.equal("scan-reads-nothing", foreign, 0);
}

/// A transfer that is slept through.
fn sleeping(edu: &Edu, transfer: Transfer) {
    edu.start_dma(transfer, BYTES, false);
    while edu.dma_is_busy() {
        time::sleep_until(time::now() + 101_000_000);
    }
}

/// Has the device send messages as fast as it can, without end.
pub fn storm(edu: &Edu) -> ! {
    println!("edu: a storm of messages");
    irq::with_enabled(|| {
        loop {
            edu.raise(1);
        }
    })
}

/// Has the device write 64 bytes to `address` (0: to the guest's own memory), six times, and sleeps meanwhile.
pub fn flood(edu: &Edu, address: u64, checks: &mut Checks) {
    const TRANSFERS: u32 = 6;
    /// Nanoseconds: longer than a transfer takes.
    const PAUSE: u64 = 110_000_000;
    let own = Buffer::new(BYTES);
    let target = if address == 0 { own.address() } else { address };
    for _ in 0..TRANSFERS {
        edu.start_dma(Transfer::ToRam(target), BYTES, false);
        while edu.dma_is_busy() {
            time::sleep_until(time::now() + PAUSE);
        }
    }
    println!("edu: {TRANSFERS} transfers to {target:#x} are over");
    checks.report("flood-is-over", Ok::<(), &str>(()));
}

/// Starts to write 64 bytes by DMA into a page of canaries, at 1024, and doesn't wait: about 100 ms remain to do something else, or to
/// be gone.
pub fn start(edu: &Edu, checks: &mut Checks) {
    let mut from = Buffer::new(BYTES);
    from.write(0, &pattern(BYTES));
    edu.dma(Transfer::FromRam(from.address()), BYTES);
    let mut page = Buffer::new(4096);
    for offset in (0..4096).step_by(CANARY.len()) {
        page.write(offset, CANARY);
    }
    edu.start_dma(Transfer::ToRam(page.address() + 1024), BYTES, true);
    // The device has it from here on.
    let _ = page.into_raw();
    checks.report("dma-started", Ok::<(), &str>(()));
}

/// Programs the message of another remapping entry (Intel VT-d specification, section 5.1.2.2: remappable format) and rings.
pub fn foreign_handle(edu: &Edu, handle: u16, checks: &mut Checks) {
    let others = || irq::total() - irq::timer_count();
    let (before, all) = (runs(), others());
    let low = u64::from(handle & 0x7fff) << 5 | u64::from(handle >> 15) << 2;
    edu.program(Message { address: 0xfee0_0000 | 1 << 4 | low, data: 0 });
    for _ in 0..3 {
        edu.raise(1);
        irq::wait_until(time::now() + 50_000_000, || runs() > before);
        edu.acknowledge();
    }
    println!("edu: msi-handle {handle}: {} runs of the own handler", runs() - before);
    checks.equal("msi-handle-raises-nothing", runs() - before, 0);
    checks.equal("msi-handle-only-timers", others() - all, 0);

    edu.program(edu.own_message());
    edu.raise(1);
    irq::wait_until(u64::MAX, || runs() > before);
    edu.acknowledge();
    checks.equal("msi-works-again", runs() - before, 1);
}
