// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card as `smoltcp` sees it: tokens that hand a frame's bytes in or out, without copies.

use super::super::LONGEST_FRAME;
use super::Nic;
use super::ring::{ReceiveRing, TransmitRing};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// A frame that came; its buffer goes back to the card when the token is gone.
pub struct RxToken<'a> {
    ring: &'a mut ReceiveRing,
    bytes: usize,
}

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, body: F) -> R {
        body(self.ring.bytes(self.bytes))
    }
}

impl Drop for RxToken<'_> {
    fn drop(&mut self) {
        self.ring.give_back();
    }
}

/// Leave to send a frame.
pub struct TxToken<'a> {
    ring: &'a mut TransmitRing,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, body: F) -> R {
        self.ring.send(bytes, body)
    }
}

impl Device for Nic {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        self.transmit.collect();
        // An answer must be possible: without room to send, the frame waits in the ring.
        if self.gone || !self.transmit.has_room() {
            return None;
        }
        let bytes = self.receive.frame()?;
        Some((RxToken { ring: &mut self.receive, bytes }, TxToken { ring: &mut self.transmit }))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        self.transmit.collect();
        let possible = !self.gone && self.transmit.has_room();
        possible.then_some(TxToken { ring: &mut self.transmit })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = LONGEST_FRAME;
        capabilities
    }
}
