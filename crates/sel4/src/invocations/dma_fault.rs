// SPDX-License-Identifier: MIT OR Apache-2.0
//! DMA faults (extension X4).

use sel4_abi::label;

use crate::{Cap, InvocationContext, Result, Word, cap, cap_type};

/// A DMA that the unit refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaFaultRecord {
    /// Bus, device, function: 8, 5 and 3 bits; `None` if nothing was recorded.
    pub requester: Option<u16>,
    /// Address, to the page.
    pub iova: u64,
    /// It was to be read; otherwise written.
    pub read: bool,
    /// The hardware's code.
    pub reason: u64,
    /// Further faults were lost.
    pub lost: bool,
}

impl DmaFaultRecord {
    fn from_words(requester: Word, iova: Word, read: Word, reason: Word, lost: Word) -> Self {
        let requester = if requester == Word::MAX { None } else { Some(requester as u16) };
        Self { requester, iova, read: read != 0, reason, lost: lost != 0 }
    }
}

impl<C: InvocationContext> Cap<cap_type::DmaFault, C> {
    /// Sets the notification that is signalled at each fault.
    pub fn dma_fault_set_notification(self, notification: cap::Notification) -> Result<()> {
        self.invoke(label::DMA_FAULT_SET_NOTIFICATION, [], [notification.bits()]).map(drop)
    }

    /// Takes the next record, and so acknowledges it.
    pub fn dma_fault_read(self) -> Result<DmaFaultRecord> {
        let [requester, iova, read, reason, lost] = self.invoke_for_words(label::DMA_FAULT_READ, [])?;
        Ok(DmaFaultRecord::from_words(requester, iova, read, reason, lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ones_means_no_record() {
        assert_eq!(DmaFaultRecord::from_words(Word::MAX, 0, 0, 0, 1).requester, None);
        let record = DmaFaultRecord::from_words(0x18, 0x1000, 1, 6, 0);
        assert_eq!(record.requester, Some(0x18));
        assert!(record.read && !record.lost);
    }
}
