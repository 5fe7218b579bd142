// SPDX-License-Identifier: MIT OR Apache-2.0
//! An NVMe controller passed through: its guest reads what the host has laid on the disk and writes blocks, and the host compares the
//! whole disk afterwards.

use std::fs;
use std::path::PathBuf;

use crate::build;
use crate::machine::{LIMIT, Machine};
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("nvme::blocks_are_read_and_written_and_the_whole_disk_is_as_it_should_be", contents),
    Case::new("nvme::a_disk_does_not_reach_what_is_not_its_vms", outside),
];

pub(super) const BLOCK: usize = 512;
const BLOCKS: usize = 8192;

/// Blocks in a row with the number from which their bytes are made: first block, blocks, seed.
type Extent = (usize, usize, u32);
/// As `images/nvme/src/layout.rs` has it: what the host writes before …
const FROM_HOST: Extent = (0, 64, 1);
/// … and the guest, together with the last block and 16 extents of commands at once.
const FROM_GUEST: [Extent; 4] = [(100, 1, 2), (200, 8, 3), (1024, 256, 4), (BLOCKS - 1, 1, 5)];
/// What the host fills the rest with.
const REST: u32 = 99;

/// The bytes of a seed, as the guest makes them.
pub(super) fn pattern(seed: u32, bytes: usize) -> Vec<u8> {
    let start = seed.wrapping_mul(0x85eb_ca6b);
    let byte = |index: u32| (index.wrapping_mul(0x9e37_79b1).wrapping_add(start) >> 13) as u8;
    (0..u32::try_from(bytes).unwrap_or(u32::MAX)).map(byte).collect()
}

fn lay(disk: &mut [u8], (first, blocks, seed): Extent) {
    disk[first * BLOCK..][..blocks * BLOCK].copy_from_slice(&pattern(seed, blocks * BLOCK));
}

/// A raw file that is gone with its test.
pub(super) struct Disk(PathBuf);

impl Disk {
    pub(super) fn new(name: &str, contents: &[u8]) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("postern-{}-{name}.raw", std::process::id()));
        fs::write(&path, contents).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn contents(&self) -> Result<Vec<u8>, String> {
        fs::read(&self.0).map_err(|error| format!("{}: {error}", self.0.display()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// QEMU's arguments for a system with these disks.
pub(super) fn arguments(system: &str, disks: &[&Disk]) -> Result<Vec<String>, String> {
    arguments_with_features(system, disks, &[])
}

/// The same with features of parts that only tests want.
pub(super) fn arguments_with_features(
    system: &str,
    disks: &[&Disk],
    features: &[&'static str],
) -> Result<Vec<String>, String> {
    let mut arguments = build::system_with_features(system, features)?.arguments();
    for (number, disk) in disks.iter().enumerate() {
        let drive = format!("if=none,id=disk{number},format=raw,file={}", disk.0.display());
        arguments.extend(["-drive".into(), drive]);
    }
    Ok(arguments)
}

/// What a disk holds that the host has laid out for a self-test.
pub(super) fn before() -> Vec<u8> {
    let mut disk = pattern(REST, BLOCKS * BLOCK);
    lay(&mut disk, FROM_HOST);
    disk
}

/// Fails unless a disk holds what a self-test leaves.
pub(super) fn compare_after(disk: &Disk) -> Outcome {
    let mut expected = before();
    FROM_GUEST.into_iter().for_each(|extent| lay(&mut expected, extent));
    (0..16).for_each(|index| lay(&mut expected, (2048 + 16 * index, 8, 16 + index as u32)));
    let found = disk.contents()?;
    if found.len() != expected.len() {
        return Err(format!("the disk has {} bytes now", found.len()));
    }
    match found.chunks(BLOCK).zip(expected.chunks(BLOCK)).position(|(found, expected)| found != expected) {
        Some(block) => Err(format!("block {block} of the disk holds something else")),
        None => Ok(()),
    }
}

fn contents() -> Outcome {
    let disk = Disk::new("nvme", &before())?;
    with(Machine::start(&arguments("nvme", &[&disk])?)?, |machine| {
        machine.expect("is \"QEMU NVMe Ctrl\", serial number \"postern-0\"")?;
        machine.expect("[disk] nvme: namespace 1 has 8192 blocks of 512 bytes")?;
        let summary = machine.expect("[disk] tests: ")?;
        machine.refute("FAILED")?;
        for check in ["reads-what-the-host-wrote", "with-a-list-of-pages", "sixteen-at-once", "shutdown"] {
            machine.expect_anywhere(&format!("[disk] test {check} ... ok"))?;
        }
        if summary.contains(" 0 passed") || !summary.contains(" 0 failed") {
            return Err(summary);
        }
        machine.expect("the guest has ended with exit code 0")?;
        machine.refute("dma fault")?;
        match machine.wait_end(LIMIT)? {
            0 => Ok(()),
            status => Err(format!("QEMU ended with {status}")),
        }
    })?;
    compare_after(&disk)
}

/// The memory that `nvme-outside` aims at, and the block that its guest writes it to.
const TARGET: u64 = 0x3000_0000;
const STOLEN: usize = 300;
/// What lies there.
const MARKER: u32 = 77;

/// The host has laid a marker in memory that isn't the VM's. It must neither come to the disk nor be overwritten from it.
fn outside() -> Outcome {
    let before = pattern(REST, BLOCKS * BLOCK);
    let disk = Disk::new("nvme", &before)?;
    let marker = pattern(MARKER, BLOCK);
    let mut arguments = arguments("nvme-outside", &[&disk])?;
    // When the guest has ended its memory can still be looked at.
    arguments.push("-no-shutdown".into());
    let (machine, mut qtest) = Machine::start_with_qtest(&arguments)?;
    with(machine, |machine| {
        // Long before the guest runs.
        for (address, word) in (TARGET..).step_by(8).zip(marker.chunks_exact(8)) {
            let word = word.try_into().map(u64::from_le_bytes).map_err(|_| "a word of another length")?;
            qtest.write64(address, word)?;
        }
        machine.expect("[disk] nvme: Write of block 300, RAM at 0x30000000")?;
        machine.expect_all(&["[iommu-server] dma fault: device 01:00.0, read of IOVA 0x30000000"])?;
        machine.expect_all(&["[iommu-server] dma fault: device 01:00.0, write of IOVA 0x30000000"])?;
        machine.expect_anywhere("[disk] vmm: DMA of a device was blocked")?;
        machine.expect("[disk] tests: 2 passed, 0 failed")?;
        machine.expect("all virtual machines have ended")?;
        if machine.monitor()?.memory(TARGET, BLOCK as u64)? != marker {
            return Err("the disk has written to memory that isn't its VM's".into());
        }
        Ok(())
    })?;
    judge_theft(&before, &disk.contents()?, &marker)
}

/// Looks at a disk to which memory that isn't its VM's, with `marker` in it, was to be written. The emulator lets the command succeed and
/// writes whatever its own buffer held, as long as that isn't the marker.
pub(super) fn judge_theft(before: &[u8], after: &[u8], marker: &[u8]) -> Outcome {
    let mut changed = after.chunks(BLOCK).zip(before.chunks(BLOCK)).enumerate().filter(|(_, (a, b))| a != b);
    match (changed.next(), changed.next()) {
        (Some((STOLEN, (block, _))), None) => {
            let leaks = block.chunks(8).zip(marker.chunks(8)).any(|(found, marker)| found == marker);
            if leaks { Err("the disk holds memory that isn't its VM's".into()) } else { Ok(()) }
        }
        (None, _) => Err("the disk hasn't even tried: its block is as it was".into()),
        (Some((block, _)), _) => Err(format!("block {block} of the disk, or another, has changed as well")),
    }
}
