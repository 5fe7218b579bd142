// SPDX-License-Identifier: MIT OR Apache-2.0
//! BAR 0, moved and moved back by writes that are narrower than it.

use alloc::format;
use alloc::string::String;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::Function;

const BAR: usize = 0x10;
/// A place in the guest's PCI window where nobody is (`docs/guest-abi.md`).
const ELSEWHERE: u32 = 0xd456_4000;

/// Moves it away and back; its registers are to be where it is.
pub fn moved(function: &Function) -> Result<(), String> {
    let config = *function.config();
    let home = config.read32(BAR) & !0xf;
    let wanted = first_word(function)?;
    for place in [ELSEWHERE, home] {
        write(&config, place);
        let found = function.bar(0).ok_or("BAR 0 is missing")?.address;
        if found != u64::from(place) {
            return Err(format!("its register says {found:#x}, not {place:#x}"));
        }
        let word = first_word(function)?;
        if word != wanted {
            return Err(format!("at {place:#x} its first register is {word:#x}, not {wanted:#x}"));
        }
    }
    Ok(())
}

/// Upper half first, then the two bytes that are left.
fn write(config: &Mmio, place: u32) {
    config.write16(BAR + 2, (place >> 16) as u16);
    config.write8(BAR + 1, (place >> 8) as u8);
    config.write8(BAR, place as u8);
}

fn first_word(function: &Function) -> Result<u32, String> {
    Ok(function.bar(0).ok_or("BAR 0 is missing")?.registers().read32(0))
}
