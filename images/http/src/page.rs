// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page: who this is and what it sees.

use alloc::{string::String, vec::Vec};
use core::fmt::{Display, Write};

/// A PCI function for the table.
pub struct Device {
    /// `bus:device.function`.
    pub address: String,
    /// Vendor and device ID.
    pub ids: (u16, u16),
    /// Class, subclass and programming interface.
    pub class: u32,
}

/// What doesn't change while the guest runs.
pub struct Identity {
    /// The CPU's vendor.
    pub cpu: String,
    /// The hypervisor's signature.
    pub hypervisor: String,
    /// Usable memory in KiB.
    pub memory: u64,
    /// The address, without `http://`.
    pub address: String,
    /// Hardware address of the network card.
    pub mac: [u8; 6],
    /// What PCI shows.
    pub devices: Vec<Device>,
}

/// What does.
pub struct Counters {
    /// Nanoseconds since the start.
    pub uptime: u64,
    /// Heap in use, KiB.
    pub heap: u64,
    /// Interrupts of the card for received frames.
    pub receive: u64,
    /// … and for room to transmit.
    pub transmit: u64,
    /// … and for changes of configuration.
    pub config: u64,
    /// Interrupts of the timer.
    pub timer: u64,
    /// Requests answered, this one included.
    pub requests: u64,
}

/// What a class code means, in a word.
fn class_name(class: u32) -> &'static str {
    match class >> 8 {
        0x0200 => "Ethernet controller",
        0x0600 => "host bridge",
        0x0601 => "ISA bridge",
        0x0604 => "PCI bridge",
        0x0106 => "SATA controller",
        0x0c05 => "SMBus controller",
        0x00ff => "unclassified device",
        other => match other >> 8 {
            0x01 => "storage controller",
            0x02 => "network controller",
            0x03 => "display controller",
            0x06 => "bridge",
            0x0c => "serial bus controller",
            _ => "device",
        },
    }
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;color:#222;background:#f4f1ea;margin:0}\
main{max-width:40rem;margin:3rem auto;padding:0 1rem}h1{font-weight:600;margin:0}\
h2{font-size:1rem;margin:2rem 0 .5rem}table{border-collapse:collapse;width:100%;background:#fff;border:1px solid #ddd6c8}\
td{padding:.4rem .8rem;border-top:1px solid #eee8dc}tr:first-child td{border:0}td:last-child{text-align:right}\
code{font:.9em ui-monospace,monospace}p{margin:.3rem 0}";

/// The page as HTML.
pub fn render(identity: &Identity, counters: &Counters) -> String {
    let mut page = String::with_capacity(3072);
    // Writing to a string can't fail.
    let _ = write(&mut page, identity, counters);
    page
}

fn write(page: &mut String, identity: &Identity, counters: &Counters) -> core::fmt::Result {
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Postern</title><style>{STYLE}</style>\n<main><h1>Postern</h1>\n<p>A unikernel in a virtual machine of its own. Its network \
         card is a PCI function passed in through the gate, by capability.</p>\n"
    )?;
    page.push_str("<h2>Who answers</h2>\n<table>\n");
    row(page, "Hypervisor", &identity.hypervisor)?;
    row(page, "CPU", &identity.cpu)?;
    row(page, "Memory", format_args!("{} KiB, {} KiB of heap in use", identity.memory, counters.heap))?;
    row(page, "Address", format_args!("<code>{}</code>", identity.address))?;
    let [a, b, c, d, e, f] = identity.mac;
    row(
        page,
        "Hardware address",
        format_args!("<code>{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}</code>"),
    )?;
    page.push_str("</table>\n<h2>What it has seen</h2>\n<table>\n");
    let tenths = counters.uptime / 100_000_000;
    row(page, "Uptime", format_args!("{}.{} s", tenths / 10, tenths % 10))?;
    row(page, "Requests", counters.requests)?;
    row(page, "Interrupts: frames received", counters.receive)?;
    row(page, "Interrupts: room to transmit", counters.transmit)?;
    row(page, "Interrupts: configuration", counters.config)?;
    row(page, "Interrupts: timer", counters.timer)?;
    page.push_str("</table>\n<h2>PCI devices</h2>\n<table>\n");
    for device in &identity.devices {
        let (vendor, id) = device.ids;
        let name = class_name(device.class);
        row(
            page,
            format_args!("<code>{}</code> {name}", device.address),
            format_args!("<code>{vendor:04x}:{id:04x}</code>"),
        )?;
    }
    page.push_str("</table></main></html>\n");
    Ok(())
}

fn row(page: &mut String, name: impl Display, value: impl Display) -> core::fmt::Result {
    writeln!(page, "<tr><td>{name}<td>{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_is_told() {
        let identity = Identity {
            cpu: "AuthenticAMD".into(),
            hypervisor: "PosternVMM".into(),
            memory: 65023,
            address: "10.0.2.15:80".into(),
            mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
            devices: alloc::vec![Device {
                address: "00:08.0".into(),
                ids: (0x1af4, 0x1041),
                class: 0x02_0000
            }],
        };
        let counters = Counters {
            uptime: 12_345_678_901,
            heap: 200,
            receive: 7,
            transmit: 0,
            config: 1,
            timer: 3,
            requests: 42,
        };
        let page = render(&identity, &counters);
        for part in [
            "PosternVMM",
            "65023 KiB",
            "52:54:00:12:34:56",
            "12.3 s",
            "<td>42\n",
            "00:08.0</code> Ethernet controller",
            "1af4:1041",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(page.len() < 4096);
    }
}
