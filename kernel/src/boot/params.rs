// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the loader says: memory map, module, command line, RSDP.

use heapless::Vec;

use crate::arch::phys_to_virt;

/// Most regions of the memory map.
pub const MAX_REGIONS: usize = 64;
const MULTIBOOT2: u32 = 0x36d7_6289;
const PVH: u32 = 0x336e_c578;

/// A region of physical memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub length: u64,
    /// E820 type; 1 is RAM.
    pub kind: u32,
}

/// What the loader says.
pub struct Params {
    /// The memory map.
    pub regions: Vec<Region, MAX_REGIONS>,
    /// First module: first byte and end.
    pub module: Option<(u64, u64)>,
    /// End of the last module.
    pub modules_end: u64,
    /// Command line.
    pub command_line: Vec<u8, 256>,
    /// Copy of the RSDP, 20 or 36 bytes, zero-padded.
    pub rsdp: Option<[u8; 36]>,
}

/// Reads a plain value at a physical address below 4 GiB.
fn read<T: Copy>(paddr: u64) -> T {
    // SAFETY: boot; the loader's structures lie in memory below 4 GiB, which the first tables map. `T` is made of integers.
    unsafe { phys_to_virt(paddr & 0xffff_ffff).cast::<T>().read_unaligned() }
}

impl Params {
    fn string(&mut self, mut paddr: u64) {
        while paddr != 0 {
            let byte: u8 = read(paddr);
            if byte == 0 || self.command_line.push(byte).is_err() {
                return;
            }
            paddr += 1;
        }
    }

    fn copy_rsdp(&mut self, paddr: u64) {
        let revision: u8 = read(paddr + 15);
        let n = if revision == 0 { 20 } else { 36 };
        let mut copy = [0; 36];
        for (i, b) in copy.iter_mut().enumerate().take(n) {
            *b = read(paddr + i as u64);
        }
        self.rsdp = Some(copy);
    }

    /// True when the command line has the word `word`.
    pub fn has(&self, word: &str) -> bool {
        self.command_line.split(|&b| b == b' ').any(|w| w == word.as_bytes())
    }

    /// What the command line says behind `name=`.
    pub fn value(&self, name: &str) -> Option<&str> {
        let text = core::str::from_utf8(&self.command_line).unwrap_or("");
        let mut words = text.split(' ').filter_map(|word| word.split_once('='));
        words.find_map(|(key, value)| (key == name).then_some(value))
    }

    /// How many scheduling domains there are to be.
    ///
    /// # Errors
    /// What `domains=` has to say.
    pub fn domains(&self) -> Result<u16, &'static str> {
        let Some(value) = self.value("domains") else { return Ok(1) };
        let count = value.parse().ok().filter(|count| (1..=sel4_abi::sched::MAX_DOMAINS).contains(count));
        count.ok_or("the boot argument `domains=` wants a number from 1 to 256")
    }

    /// Reads what the loader left at `info`; `magic` is EAX of a multiboot2 loader.
    ///
    /// # Errors
    /// What is missing.
    pub fn parse(magic: u32, info: u64) -> Result<Self, &'static str> {
        let mut p =
            Self { regions: Vec::new(), module: None, modules_end: 0, command_line: Vec::new(), rsdp: None };
        if magic == MULTIBOOT2 {
            p.multiboot2(info);
        } else if read::<u32>(info) == PVH {
            p.pvh(info)?;
        } else {
            return Err("started neither by a PVH nor by a multiboot2 loader");
        }
        p.regions.sort_unstable_by_key(|r| r.base);
        Ok(p)
    }

    fn module(&mut self, start: u64, end: u64) {
        if end > start {
            self.module.get_or_insert((start, end));
            self.modules_end = self.modules_end.max(end);
        }
    }

    fn region(&mut self, base: u64, length: u64, kind: u32) {
        // A longer map than fits loses its tail: unknown memory is then treated as device memory.
        let _ = self.regions.push(Region { base, length, kind });
    }

    /// `hvm_start_info` (Xen's PVH boot ABI).
    fn pvh(&mut self, info: u64) -> Result<(), &'static str> {
        if read::<u32>(info + 4) < 1 {
            return Err("the PVH loader gives no memory map");
        }
        let modules = read::<u64>(info + 16);
        for i in 0..u64::from(read::<u32>(info + 12)) {
            let start = read::<u64>(modules + 32 * i);
            self.module(start, start + read::<u64>(modules + 32 * i + 8));
        }
        self.string(read(info + 24));
        let rsdp = read::<u64>(info + 32);
        if rsdp != 0 {
            self.copy_rsdp(rsdp);
        }
        let map = read::<u64>(info + 40);
        for i in 0..u64::from(read::<u32>(info + 48)) {
            let e = map + 24 * i;
            self.region(read(e), read(e + 8), read(e + 16));
        }
        Ok(())
    }

    /// Multiboot2 information (Multiboot2 specification, 3.6).
    fn multiboot2(&mut self, info: u64) {
        let end = info + u64::from(read::<u32>(info));
        let mut tag = info + 8;
        while tag + 8 <= end {
            let (kind, size) = (read::<u32>(tag), u64::from(read::<u32>(tag + 4)));
            match kind {
                0 => break,
                1 => self.string(tag + 8),
                3 => self.module(u64::from(read::<u32>(tag + 8)), u64::from(read::<u32>(tag + 12))),
                6 => {
                    let entry = u64::from(read::<u32>(tag + 8)).max(24);
                    let mut e = tag + 16;
                    while e + entry <= tag + size {
                        self.region(read(e), read(e + 8), read(e + 16));
                        e += entry;
                    }
                }
                14 if self.rsdp.is_none() => self.copy_rsdp(tag + 8),
                15 => self.copy_rsdp(tag + 8),
                _ => {}
            }
            tag += size.max(8).div_ceil(8) * 8;
        }
    }
}
