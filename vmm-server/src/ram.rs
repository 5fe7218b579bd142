// SPDX-License-Identifier: MIT OR Apache-2.0
//! The runtime's guest memory as the models want it.
use vmm_devices::memory::GuestMemory;

/// Guest RAM.
pub struct Ram(pub component::GuestMemory);

impl GuestMemory for Ram {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read(&self, gpa: u64, to: &mut [u8]) -> Option<()> {
        self.0.read(gpa, to)
    }
    fn write(&mut self, gpa: u64, from: &[u8]) -> Option<()> {
        self.0.write(gpa, from)
    }
    fn copy(&mut self, from: u64, to: u64, bytes: u64) -> Option<()> {
        self.0.copy(from, to, bytes)
    }
    #[inline]
    fn read_u64(&self, gpa: u64) -> Option<u64> {
        self.0.read_u64(gpa)
    }
    fn zero(&mut self, gpa: u64, bytes: u64) -> Option<()> {
        self.0.zero(gpa, bytes)
    }
}
