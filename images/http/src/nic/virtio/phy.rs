// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card as `smoltcp` sees it: tokens that hand a frame's bytes in or out, without copies.

use super::super::LONGEST_FRAME;
use super::Nic;
use super::ring::{BUFFER, HEADER, Ring};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use virtio_drivers::Error;

impl Nic {
    /// Takes back buffers whose frames have been sent.
    fn collect_sent(&mut self) -> Result<(), Error> {
        while let Some((buffer, _)) = self.transmit.reclaim()? {
            self.transmit.put_back(buffer);
        }
        Ok(())
    }

    /// A buffer to send from.
    fn send_buffer(&mut self) -> Option<usize> {
        if let Err(error) = self.collect_sent() {
            self.broken = Some(error);
        }
        if self.broken.is_some() { None } else { self.transmit.take() }
    }

    /// A received frame: its buffer, and its length without the header.
    fn received(&mut self) -> Option<(usize, usize)> {
        if self.broken.is_some() {
            return None;
        }
        match self.receive.reclaim() {
            Ok(Some((buffer, written))) => Some((buffer, written.saturating_sub(HEADER))),
            Ok(None) => None,
            Err(error) => {
                self.broken = Some(error);
                None
            }
        }
    }
}

/// A frame that came; its buffer goes back to the device when the token is gone.
pub struct RxToken<'a> {
    ring: &'a mut Ring,
    to_receive: &'a mut bool,
    buffer: usize,
    bytes: usize,
}

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, body: F) -> R {
        body(&self.ring.bytes(self.buffer)[HEADER..HEADER + self.bytes])
    }
}

impl Drop for RxToken<'_> {
    fn drop(&mut self) {
        // There is a descriptor for every buffer, so this can't fail.
        let given = self.ring.give(self.buffer, BUFFER);
        debug_assert!(given.is_ok());
        *self.to_receive = true;
    }
}

/// Leave to send a frame; the buffer stays the driver's if it isn't used.
pub struct TxToken<'a> {
    ring: &'a mut Ring,
    to_send: &'a mut bool,
    buffer: Option<usize>,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, bytes: usize, body: F) -> R {
        let buffer = self.buffer.take().expect("a token holds a buffer until it is consumed");
        let data = self.ring.bytes(buffer);
        // No checksum or segmentation is left to the device.
        data[..HEADER].fill(0);
        let result = body(&mut data[HEADER..HEADER + bytes]);
        let given = self.ring.give(buffer, HEADER + bytes);
        debug_assert!(given.is_ok());
        *self.to_send = true;
        result
    }
}

impl Drop for TxToken<'_> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer {
            self.ring.put_back(buffer);
        }
    }
}

impl Device for Nic {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        // An answer must be possible: without room to send, the frame waits in the ring.
        let reply = self.send_buffer()?;
        let Some((buffer, bytes)) = self.received() else {
            self.transmit.put_back(reply);
            return None;
        };
        Some((
            RxToken { ring: &mut self.receive, to_receive: &mut self.to_receive, buffer, bytes },
            TxToken { ring: &mut self.transmit, to_send: &mut self.to_send, buffer: Some(reply) },
        ))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        let buffer = self.send_buffer()?;
        Some(TxToken { ring: &mut self.transmit, to_send: &mut self.to_send, buffer: Some(buffer) })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = LONGEST_FRAME;
        capabilities
    }
}
