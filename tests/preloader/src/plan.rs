// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the command line asks for.

/// Most repetitions of a word.
pub const MOST: usize = 4;
/// Most writes to configuration space.
pub const MOST_WRITES: usize = 8;
/// Most bridges and devices of a path.
pub const MOST_HOPS: usize = 4;

/// A PCI function: bus, and device and function in a byte.
#[derive(Clone, Copy)]
pub struct Function {
    pub bus: u8,
    pub devfn: u8,
}

/// An `edu` that writes to memory, and how long this program waits when it has begun.
#[derive(Clone, Copy)]
pub struct Edu {
    pub device: Function,
    pub to: u64,
    pub bytes: u64,
    pub wait: u64,
}

/// Memory that a device is to keep reaching: first and last byte, and the path to the device from bus 0.
#[derive(Clone, Copy)]
pub struct Region {
    pub base: u64,
    pub limit: u64,
    pub hops: [Option<u8>; MOST_HOPS],
}

/// Everything.
#[derive(Default)]
pub struct Plan<'a> {
    pub kernel: u64,
    pub canary: Option<u64>,
    pub masters: [Option<Function>; MOST],
    pub edus: [Option<Edu>; MOST],
    pub regions: [Option<Region>; MOST],
    /// Written to configuration space: where, and what.
    pub writes: [Option<(Function, u8, u32)>; MOST_WRITES],
    /// Taken out of RAM: first and last byte.
    pub reserved: [Option<(u64, u64)>; MOST],
    pub units: [Option<u64>; MOST],
    pub moved: Option<u64>,
    /// Bytes that the first unit loses.
    pub trim: usize,
    /// What looks like a unit.
    pub forged: Option<u64>,
    /// Whose DMA firmware's own remapping lets pass.
    pub passed: [Option<Function>; MOST],
    pub cut: usize,
    /// The kernel's command line.
    pub rest: &'a str,
}

impl<'a> Plan<'a> {
    /// Reads a command line; the first word that makes no sense, otherwise.
    pub fn parse(line: &'a str) -> Result<Self, &'a str> {
        let (words, rest) = line.split_once("--").unwrap_or((line, ""));
        let mut plan = Self { rest: rest.trim(), ..Self::default() };
        for word in words.split_ascii_whitespace() {
            plan.take(word).ok_or(word)?;
        }
        Ok(plan)
    }

    fn take(&mut self, word: &str) -> Option<()> {
        let (key, value) = word.split_once('=')?;
        let mut parts = value.split(',');
        let mut part = || parts.next();
        match key {
            "kernel" => self.kernel = number(part()?)?,
            "canary" => self.canary = Some(number(part()?)?),
            "master" => put(&mut self.masters, function(part()?)?)?,
            "edu" => {
                let (device, to) = (function(part()?)?, number(part()?)?);
                put(&mut self.edus, Edu { device, to, bytes: number(part()?)?, wait: number(part()?)? })?;
            }
            "rmrr" => {
                let (base, limit) = (number(part()?)?, number(part()?)?);
                put(&mut self.regions, Region { base, limit, hops: hops(part()?)? })?;
            }
            "reserve" => put(&mut self.reserved, (number(part()?)?, number(part()?)?))?,
            "drhd" => put(&mut self.units, number(part()?)?)?,
            "moved" => self.moved = Some(number(part()?)?),
            "trim" => self.trim = number(part()?)? as usize,
            "forge" => self.forged = Some(number(part()?)?),
            "pass" => put(&mut self.passed, function(part()?)?)?,
            "cut" => self.cut = number(part()?)? as usize,
            "config" => {
                let (function, offset) = (function(part()?)?, u8::try_from(number(part()?)?).ok()? & !3);
                put(&mut self.writes, (function, offset, number(part()?)? as u32))?;
            }
            _ => return None,
        }
        part().is_none().then_some(())
    }

    /// Whether the DMAR table is to be another.
    pub fn edits_dmar(&self) -> bool {
        self.cut != 0
            || self.moved.is_some()
            || self.trim != 0
            || self.regions[0].is_some()
            || self.units[0].is_some()
    }
}

fn put<T>(list: &mut [Option<T>], value: T) -> Option<()> {
    *list.iter_mut().find(|place| place.is_none())? = Some(value);
    Some(())
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// `device.function`.
fn devfn(text: &str) -> Option<u8> {
    let (device, function) = text.split_once('.')?;
    let (device, function) = (number(device)?, number(function)?);
    (device < 32 && function < 8).then_some((device << 3 | function) as u8)
}

fn function(text: &str) -> Option<Function> {
    let (bus, rest) = text.split_once(':')?;
    Some(Function { bus: u8::try_from(number(bus)?).ok()?, devfn: devfn(rest)? })
}

fn hops(text: &str) -> Option<[Option<u8>; MOST_HOPS]> {
    let mut hops = [None; MOST_HOPS];
    for hop in text.split('/') {
        put(&mut hops, devfn(hop)?)?;
    }
    Some(hops)
}
