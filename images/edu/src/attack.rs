// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a hostile guest would have its device do. The device can't tell whether its accesses were let through, so the verdict is the host's:
//! it looks at the memory aimed at and at the log of DMA faults.

use crate::device::{Edu, Transfer, runs};
use crate::selftest::pattern;
use alloc::vec;
use guest_runtime::checks::Checks;
use guest_runtime::pci::Message;
use guest_runtime::{dma::Buffer, irq, println, time};

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
