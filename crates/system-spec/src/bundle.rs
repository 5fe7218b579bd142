// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bundle: compiled description, parts and guests in one read-only segment of the root task's image.
//!
//! All numbers are little-endian. The bundle begins on a page and so does every entry's data:
//!
//! | offset | bytes | what |
//! | ---: | ---: | --- |
//! | 0 | 8 | [`MAGIC`] |
//! | 8 | 4 | [`VERSION`] |
//! | 12 | 4 | number of entries |
//! | 16 | 8 | length of the whole bundle in bytes, a multiple of 4096 |
//! | 24 | 8 | [`digest`] of everything from offset 32 on, seeded with the two fields before |
//! | 32 | 64 each | entries: kind (u32), length of the name (u32), offset (u64), length (u64), name (40 bytes) |
//!
//! **How the root task finds it.** The segment directly follows the root task's own, on the next page, because the
//! kernel takes the image as one run of frames. The root task holds a [`Locator`] in a static:
//!
//! ```ignore
//! #[used]
//! #[unsafe(link_section = ".bundle_locator")]
//! static LOCATOR: system_spec::bundle::Locator = system_spec::bundle::Locator::new();
//! ```
//!
//! and the tool, which finds it by [`LOCATOR_MAGIC`] (exactly one, 16-byte aligned, in a loaded segment's file
//! bytes), patches virtual address and length into it. The fields are atomics so that the compiler can't fold the
//! unpatched values into the code.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

/// First bytes of a bundle.
pub const MAGIC: [u8; 8] = *b"POSTBNDL";
/// Version of the layout above and of the compiled description.
pub const VERSION: u32 = 1;
/// Alignment of the bundle and of each entry, in bytes.
pub const PAGE: usize = 4096;
/// Longest name of an entry, in bytes.
pub const MAX_ENTRY_NAME: usize = 40;
/// First bytes of an unpatched or patched [`Locator`].
pub const LOCATOR_MAGIC: [u8; 16] = *b"postern-locator\0";

const HEADER: usize = 32;
const ENTRY: usize = 64;

/// Where the bundle is: a static of the root task, patched by the tool.
#[repr(C, align(16))]
pub struct Locator {
    magic: [u8; 16],
    address: AtomicU64,
    length: AtomicU64,
}

impl Locator {
    /// An unpatched one.
    #[must_use]
    #[allow(clippy::new_without_default)] // It makes sense in a static only.
    pub const fn new() -> Self {
        Self { magic: LOCATOR_MAGIC, address: AtomicU64::new(0), length: AtomicU64::new(0) }
    }

    /// Virtual address and length in bytes of the bundle; `None` in an image that the tool didn't finish.
    #[must_use]
    pub fn get(&self) -> Option<(usize, usize)> {
        let address = self.address.load(Ordering::Relaxed) as usize;
        (address != 0).then(|| (address, self.length.load(Ordering::Relaxed) as usize))
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The compiled description (postcard of [`crate::compiled::System`]); its name is the system's.
    Description,
    /// The ELF image of a part, named by its package (`pci-server`).
    Part,
    /// A guest's image, named as `vm.image` in the description.
    Guest,
}

impl Kind {
    const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Description),
            2 => Some(Self::Part),
            3 => Some(Self::Guest),
            _ => None,
        }
    }

    #[cfg(feature = "host")]
    const fn number(self) -> u32 {
        match self {
            Self::Description => 1,
            Self::Part => 2,
            Self::Guest => 3,
        }
    }
}

/// Why some bytes are no usable bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// Shorter than its header or its entries.
    Short,
    /// Doesn't begin with [`MAGIC`].
    Magic,
    /// Of another layout.
    Version(u32),
    /// Its length field doesn't fit the bytes.
    Length,
    /// Its bytes were changed.
    Digest,
    /// An entry lies outside, is unaligned, or has a bad kind or name.
    Entry(usize),
    /// Not exactly one description.
    Description,
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the bundle is cut short"),
            Self::Magic => f.write_str("the bundle has no magic: the image was not made by `postern build`"),
            Self::Version(version) => write!(f, "the bundle has version {version}, not {VERSION}"),
            Self::Length => f.write_str("the bundle's length doesn't fit its segment"),
            Self::Digest => f.write_str("the bundle's digest is wrong: the image is damaged"),
            Self::Entry(index) => write!(f, "entry {index} of the bundle is malformed"),
            Self::Description => f.write_str("the bundle doesn't hold exactly one description"),
        }
    }
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
    /// Offset of its data from the start of the bundle in bytes; page-aligned.
    pub offset: usize,
    /// Its bytes.
    pub data: &'a [u8],
}

/// A bundle that passed every check.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Bundle<'a> {
    /// Checks magic, version, lengths, digest and entries. Nothing is copied.
    ///
    /// # Errors
    /// See [`BundleError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BundleError> {
        if bytes.len() < HEADER {
            return Err(BundleError::Short);
        }
        if bytes[..8] != MAGIC {
            return Err(BundleError::Magic);
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(BundleError::Version(version));
        }
        let (count, length) = (u32_at(bytes, 12) as usize, u64_at(bytes, 16));
        if length != bytes.len() as u64 || !bytes.len().is_multiple_of(PAGE) {
            return Err(BundleError::Length);
        }
        if count > (bytes.len() - HEADER) / ENTRY {
            return Err(BundleError::Short);
        }
        if u64_at(bytes, 24) != digest(seed(count, length), &bytes[HEADER..]) {
            return Err(BundleError::Digest);
        }
        let bundle = Self { bytes, count };
        for index in 0..count {
            bundle.entry(index).ok_or(BundleError::Entry(index))?;
        }
        if bundle.entries().filter(|entry| entry.kind == Kind::Description).count() != 1 {
            return Err(BundleError::Description);
        }
        Ok(bundle)
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let bundle = *self;
        (0..self.count).filter_map(move |index| bundle.entry(index))
    }

    /// The entry of that kind and name.
    #[must_use]
    pub fn find(&self, kind: Kind, name: &str) -> Option<Entry<'a>> {
        self.entries().find(|entry| entry.kind == kind && entry.name == name)
    }

    /// The compiled description's bytes.
    #[must_use]
    pub fn description(&self) -> &'a [u8] {
        self.entries().find(|entry| entry.kind == Kind::Description).map_or(&[], |entry| entry.data)
    }

    fn entry(&self, index: usize) -> Option<Entry<'a>> {
        let start = HEADER + index * ENTRY;
        let raw = self.bytes.get(start..start + ENTRY)?;
        let kind = Kind::from_number(u32_at(raw, 0))?;
        let name = core::str::from_utf8(raw[24..].get(..u32_at(raw, 4) as usize)?).ok()?;
        let (offset, length) =
            (usize::try_from(u64_at(raw, 8)).ok()?, usize::try_from(u64_at(raw, 16)).ok()?);
        let data = self.bytes.get(offset..offset.checked_add(length)?)?;
        offset.is_multiple_of(PAGE).then_some(Entry { kind, name, offset, data })
    }
}

/// A quick digest, eight bytes a step: it finds damage, not malice. Bytes past the last full word are ignored, so
/// what it covers is padded to one.
#[must_use]
pub fn digest(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed;
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        // Multiplication by an odd number and rotation lose nothing, so a single changed word always shows.
        state = (state.rotate_left(29) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    state ^ state >> 32
}

const fn seed(count: usize, length: u64) -> u64 {
    (count as u64) << 48 ^ length
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

#[cfg(feature = "host")]
pub use write::Writer;

#[cfg(feature = "host")]
mod write {
    use super::{ENTRY, HEADER, Kind, MAGIC, MAX_ENTRY_NAME, PAGE, VERSION, digest, seed};

    /// Makes a bundle.
    #[derive(Default)]
    pub struct Writer {
        entries: Vec<(Kind, String, Vec<u8>)>,
    }

    impl Writer {
        /// Adds an entry. Entries lie in the order in which they were added.
        ///
        /// # Errors
        /// The name, if it has more than [`MAX_ENTRY_NAME`] bytes.
        pub fn add(&mut self, kind: Kind, name: &str, data: Vec<u8>) -> Result<(), String> {
            if name.len() > MAX_ENTRY_NAME {
                return Err(format!("`{name}` has more than {MAX_ENTRY_NAME} bytes"));
            }
            self.entries.push((kind, name.to_owned(), data));
            Ok(())
        }

        /// The bundle's bytes; a function of the entries alone.
        #[must_use]
        pub fn finish(&self) -> Vec<u8> {
            let count = self.entries.len();
            let mut bytes = vec![0; (HEADER + count * ENTRY).next_multiple_of(PAGE)];
            for (index, (kind, name, data)) in self.entries.iter().enumerate() {
                let offset = bytes.len();
                bytes.extend_from_slice(data);
                bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
                let entry = &mut bytes[HEADER + index * ENTRY..][..ENTRY];
                entry[..4].copy_from_slice(&kind.number().to_le_bytes());
                entry[4..8].copy_from_slice(&(name.len() as u32).to_le_bytes());
                entry[8..16].copy_from_slice(&(offset as u64).to_le_bytes());
                entry[16..24].copy_from_slice(&(data.len() as u64).to_le_bytes());
                entry[24..24 + name.len()].copy_from_slice(name.as_bytes());
            }
            let length = bytes.len() as u64;
            let sum = digest(seed(count, length), &bytes[HEADER..]);
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
            bytes[12..16].copy_from_slice(&(count as u32).to_le_bytes());
            bytes[16..24].copy_from_slice(&length.to_le_bytes());
            bytes[24..32].copy_from_slice(&sum.to_le_bytes());
            bytes
        }
    }
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::default();
        writer.add(Kind::Description, "web", vec![1, 2, 3]).unwrap();
        writer.add(Kind::Part, "pci-server", vec![7; 5000]).unwrap();
        writer.add(Kind::Guest, "images/http", Vec::new()).unwrap();
        writer.finish()
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = sample();
        let bundle = Bundle::parse(&bytes).unwrap();
        assert_eq!(bundle.description(), [1, 2, 3]);
        let part = bundle.find(Kind::Part, "pci-server").unwrap();
        assert_eq!((part.offset, part.data), (8192, &[7; 5000][..]));
        assert_eq!(bundle.find(Kind::Guest, "images/http").unwrap().data, []);
        assert!(bundle.find(Kind::Guest, "pci-server").is_none());
        assert_eq!(bundle.entries().count(), 3);
    }

    #[test]
    fn every_flipped_bit_shows() {
        let good = sample();
        for at in (0..good.len()).step_by(13).chain(0..HEADER + 3 * ENTRY) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(Bundle::parse(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn each_defect_has_its_error() {
        let good = sample();
        assert_eq!(Bundle::parse(&good[..16]).unwrap_err(), BundleError::Short);
        assert_eq!(Bundle::parse(&good[..good.len() - PAGE]).unwrap_err(), BundleError::Length);
        let with = |at: usize, byte: u8, fix: bool| {
            let mut bad = good.clone();
            bad[at] = byte;
            if fix {
                let sum = digest(seed(u32_at(&bad, 12) as usize, u64_at(&bad, 16)), &bad[HEADER..]);
                bad[24..32].copy_from_slice(&sum.to_le_bytes());
            }
            Bundle::parse(&bad).unwrap_err()
        };
        assert_eq!(with(0, b'X', false), BundleError::Magic);
        assert_eq!(with(8, 9, false), BundleError::Version(9));
        assert_eq!(with(15, 9, false), BundleError::Short);
        assert_eq!(with(5000, 9, false), BundleError::Digest);
        assert_eq!(with(HEADER, 9, true), BundleError::Entry(0));
        assert_eq!(with(HEADER, 2, true), BundleError::Description);
        assert_eq!(with(HEADER + ENTRY + 8, 1, true), BundleError::Entry(1));
        assert_eq!(with(HEADER + ENTRY + 4, 200, true), BundleError::Entry(1));
        assert_eq!(with(HEADER + ENTRY + 23, 0xff, true), BundleError::Entry(1));
    }

    #[test]
    fn an_unpatched_locator_says_so() {
        assert_eq!(Locator::new().get(), None);
        assert_eq!(size_of::<Locator>(), 32);
    }
}
