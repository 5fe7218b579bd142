// SPDX-License-Identifier: MIT OR Apache-2.0
//! One deadline for each client.

/// Most clients.
pub const MAX: usize = 64;

/// Deadlines in ticks of the time-stamp counter, by client index.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// Bit `i` is set while client `i` waits.
    waiting: u64,
    at: [u64; MAX],
}

impl Deadlines {
    /// None.
    pub const fn new() -> Self {
        Self { waiting: 0, at: [0; MAX] }
    }

    /// Sets the deadline of a client below [`MAX`]; the one before is forgotten.
    pub fn set(&mut self, client: usize, tsc: u64) {
        self.waiting |= 1 << client;
        self.at[client] = tsc;
    }

    /// Forgets a client's deadline.
    pub fn cancel(&mut self, client: usize) {
        self.waiting &= !(1 << client);
    }

    /// The earliest deadline.
    pub fn earliest(&self) -> Option<u64> {
        bits(self.waiting).map(|client| self.at[client]).min()
    }

    /// Takes the clients whose deadline is `now` or earlier, as bits.
    pub fn take_due(&mut self, now: u64) -> u64 {
        let due = bits(self.waiting).filter(|client| self.at[*client] <= now).fold(0, |set, i| set | 1 << i);
        self.waiting &= !due;
        due
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::new()
    }
}

/// The numbers of the bits that are set, ascending.
pub fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (bit < MAX).then_some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_one() {
        let mut deadlines = Deadlines::new();
        assert_eq!(deadlines.earliest(), None);
        deadlines.set(3, 500);
        deadlines.set(63, 400);
        deadlines.set(0, 600);
        assert_eq!(deadlines.earliest(), Some(400));
        deadlines.set(63, 700);
        assert_eq!(deadlines.earliest(), Some(500));
        assert_eq!(deadlines.take_due(499), 0);
        assert_eq!(deadlines.take_due(600), 1 << 3 | 1);
        assert_eq!(deadlines.take_due(600), 0, "taken once");
        deadlines.cancel(63);
        deadlines.cancel(5);
        assert_eq!(deadlines.earliest(), None);
        assert_eq!(deadlines.take_due(u64::MAX), 0);
    }

    #[test]
    fn bits_are_enumerated() {
        assert_eq!(bits(0).count(), 0);
        assert_eq!(bits(u64::MAX).count(), 64);
        assert_eq!(bits(1 << 63 | 1 << 5).collect::<Vec<_>>(), [5, 63]);
    }
}
