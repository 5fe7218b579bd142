// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages in a device's I/O space. All tables are there before; after unmapping the unit is told to forget what it has cached.

use kernel_tests::measure::{bench_pair, overhead};
use kernel_tests::{Env, Failure, Outcome};
use sel4::abi::bootinfo;
use sel4::init_thread::slot;
use sel4::{CapRights, CapTypeForFrameObject, IOSpaceCapData, cap};

/// The SMBus controller, 00:1f.3, which does no DMA.
const REQUESTER: u16 = 0x1f << 3 | 3;
const DOMAIN: u16 = 5;
const IOVA: usize = 0x1020_0000;
/// Beside the pages' table, in the same directory.
const LARGE: usize = IOVA + 0x20_0000;

/// Mapping a page for the device and taking it away again.
pub fn pages(env: &mut Env) -> Outcome {
    let features = env.bootinfo.extensions().unwrap_or_default().features;
    if features & bootinfo::FEATURE_DMA_REMAPPING == 0 || features & bootinfo::FEATURE_DMA_2M == 0 {
        return Err(Failure::new(format_args!("no DMA remapping with pages of 2 MiB")));
    }
    let data = IOSpaceCapData::new(DOMAIN, REQUESTER).into_word();
    let space: cap::IOSpace = env.mint(slot::IO_SPACE.cap(), CapRights::all(), data)?;
    for _ in 0..env.bootinfo.io_pt_levels().unwrap_or(0) {
        env.make::<sel4::cap_type::IOPageTable>()?.iopt_map(space, IOVA)?;
    }
    let small: cap::Granule = env.make()?;
    page(["io-map-4k", "io-unmap-4k"], space, small, IOVA)?;
    let large: cap::LargePage = env.make()?;
    page(["io-map-2m", "io-unmap-2m"], space, large, LARGE)
}

fn page<T: CapTypeForFrameObject>(
    names: [&str; 2],
    space: cap::IOSpace,
    frame: sel4::Cap<T>,
    iova: usize,
) -> Outcome {
    let (mut mapped, mut unmapped) = (Ok(()), Ok(()));
    let map = || mapped = mapped.and(space.io_space_map_frame(frame, CapRights::read_write(), iova));
    bench_pair(names, overhead(), map, || unmapped = unmapped.and(frame.frame_unmap()));
    Ok(mapped.and(unmapped)?)
}
