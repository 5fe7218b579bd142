// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device scopes: which devices a DMAR structure speaks of (VT-d specification 4.1, section 8.3.1).

use crate::{Error, Signature};

/// What a scope names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// Exactly one PCI function.
    Endpoint,
    /// A PCI bridge and everything beneath it.
    Bridge,
    /// An I/O APIC: the source ID of its interrupts, and the enumeration ID is the APIC's ID.
    IoApic,
    /// A timer block that sends MSIs; the enumeration ID is the block's number.
    Hpet,
    /// A device that is only in ACPI's name space; the enumeration ID is that of its [`crate::AcpiDevice`].
    NameSpace,
    /// A kind that this reader does not know.
    Other(u8),
}

/// One step of a path: a function on the bus that the steps before led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// Device number, 0–31.
    pub device: u8,
    /// Function number, 0–7.
    pub function: u8,
}

impl PathStep {
    /// Device and function as in a requester ID.
    pub fn devfn(self) -> u8 {
        self.device << 3 | self.function
    }
}

/// A scope: a path from a bus through bridges to a function. It has at least one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceScope<'a> {
    /// What is named.
    pub kind: ScopeKind,
    /// The I/O APIC's ID, timer block's number or ACPI device's number.
    pub enumeration_id: u8,
    /// The bus that the path starts on.
    pub start_bus: u8,
    path: &'a [u8],
}

const SCOPE_BYTES: usize = 6;

impl<'a> DeviceScope<'a> {
    /// The steps of the path.
    pub fn path(&self) -> impl DoubleEndedIterator<Item = PathStep> + Clone + 'a {
        self.path.chunks_exact(2).map(|step| PathStep { device: step[0], function: step[1] })
    }

    /// The requester ID, if the path has only one step, so that no bridge has to be asked.
    pub fn direct(&self) -> Option<u16> {
        let mut steps = self.path();
        let step = steps.next()?;
        steps.next().is_none().then(|| u16::from_be_bytes([self.start_bus, step.devfn()]))
    }
}

/// The scope at the start of `bytes`, which lie at `offset` of the table, and its length.
pub(crate) fn first(bytes: &[u8], offset: usize) -> Result<(DeviceScope<'_>, usize), Error> {
    let table = Signature::DMAR;
    let bad = |length| Error::BadEntry { table, offset, length, available: bytes.len() };
    let &[kind, length, _, _, enumeration_id, start_bus, ..] = bytes else { return Err(bad(bytes.len())) };
    let length = usize::from(length);
    // A path has at least one step, and steps have two bytes each.
    if length < SCOPE_BYTES + 2 || length % 2 != 0 {
        return Err(bad(length));
    }
    let path = bytes.get(SCOPE_BYTES..length).ok_or(bad(length))?;
    for (index, step) in path.chunks_exact(2).enumerate() {
        if step[0] >= 32 || step[1] >= 8 {
            let value = u64::from(u16::from_be_bytes([step[0], step[1]]));
            return Err(Error::BadValue { table, offset: offset + SCOPE_BYTES + 2 * index, value });
        }
    }
    let kind = match kind {
        1 => ScopeKind::Endpoint,
        2 => ScopeKind::Bridge,
        3 => ScopeKind::IoApic,
        4 => ScopeKind::Hpet,
        5 => ScopeKind::NameSpace,
        other => ScopeKind::Other(other),
    };
    Ok((DeviceScope { kind, enumeration_id, start_bus, path }, length))
}

/// Checks all scopes in `bytes`, which lie at `offset` of the table.
pub(crate) fn check(bytes: &[u8], offset: usize) -> Result<(), Error> {
    let mut at = 0;
    while at < bytes.len() {
        at += first(&bytes[at..], offset + at)?.1;
    }
    Ok(())
}

/// All scopes in bytes that [`check`] has passed.
pub(crate) fn all(bytes: &[u8]) -> impl Iterator<Item = DeviceScope<'_>> + Clone {
    let mut left = bytes;
    core::iter::from_fn(move || {
        let (scope, length) = first(left, 0).ok()?;
        left = left.get(length..)?;
        Some(scope)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_scope_is_read_with_its_path() {
        let bytes = fixture::scope(1, 0, 5, &[(0x1c, 2), (0, 1)]);
        let (scope, length) = first(&bytes, 0).unwrap();
        assert_eq!((scope.kind, scope.start_bus, length), (ScopeKind::Endpoint, 5, 10));
        assert_eq!(scope.path().last(), Some(PathStep { device: 0, function: 1 }));
        assert_eq!(scope.direct(), None);
        let bytes = fixture::scope(3, 7, 0xff, &[(0, 0)]);
        assert_eq!(first(&bytes, 0).unwrap().0.direct(), Some(0xff00));
    }

    #[test]
    fn bad_lengths_and_numbers_are_refused() {
        for length in [0u8, 1, 5, 6, 7, 9, 10, 255] {
            let mut bytes = fixture::scope(1, 0, 0, &[(1, 0)]);
            bytes[1] = length;
            assert!(
                matches!(check(&bytes, 0x40), Err(Error::BadEntry { offset: 0x40, .. })),
                "length {length} passed"
            );
        }
        assert!(check(&fixture::scope(1, 0, 0, &[(32, 0)]), 0).is_err());
        assert!(check(&fixture::scope(1, 0, 0, &[(0, 8)]), 0).is_err());
        let mut two = fixture::scope(1, 0, 0, &[(1, 0)]);
        two.extend_from_slice(&[1, 8, 0]);
        assert!(matches!(check(&two, 0x40), Err(Error::BadEntry { offset: 0x48, available: 3, .. })));
        assert!(check(&[], 0).is_ok());
    }
}
