// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts the kernel as QEMU would, after it has done what hostile firmware does. See README.md.
#![no_std]
#![no_main]

mod acpi;
mod devices;
mod dmar;
mod entry;
mod kernel;
mod memory;
mod plan;
mod remapping;
mod serial;
mod start_info;

use plan::{Edu, Plan};

/// Does what the command line says; the kernel's entry point, and the start information for it.
pub fn prepare(info: u64) -> (u32, u32) {
    let line = start_info::command_line(info);
    let plan = Plan::parse(line).unwrap_or_else(|word| stop("the command line has a bad word", word));
    let entry = kernel::load(plan.kernel).unwrap_or_else(|why| stop(why, ""));
    let info = start_info::copy(info, &plan).unwrap_or_else(|why| stop(why, ""));
    if plan.edits_dmar() {
        acpi::replace_dmar(info, |table| dmar::edit(table, &plan)).unwrap_or_else(|why| stop(why, ""));
        serial::line("the DMAR table is edited");
    }
    if let Some(at) = plan.forged {
        remapping::forge(unit(info), at);
        serial::line("a page of memory looks like a remapping unit");
    }
    if plan.passed[0].is_some() {
        let devices = plan.passed.into_iter().flatten();
        remapping::leave_on(unit(info), devices).unwrap_or_else(|why| stop(why, ""));
        serial::line("remapping is on, and lets devices' DMA pass");
    }
    if let Some(canary) = plan.canary {
        memory::fill(canary, 0xca, 4096);
    }
    for (device, offset, value) in plan.writes.into_iter().flatten() {
        devices::write(device, offset, value);
        serial::line("configuration space is written");
    }
    for device in plan.masters.into_iter().flatten() {
        devices::make_master(device);
        serial::line("a device is bus master");
    }
    for Edu { device, to, bytes, wait } in plan.edus.into_iter().flatten() {
        devices::arm(device, to, bytes).unwrap_or_else(|why| stop(why, ""));
        entry::wait(wait);
    }
    serial::line("starting the kernel");
    (entry, info as u32)
}

/// The registers of the first remapping unit.
fn unit(info: u64) -> u64 {
    acpi::first_unit(info).unwrap_or_else(|why| stop(why, ""))
}

/// Says why and stands still.
fn stop(why: &str, what: &str) -> ! {
    serial::text("[preloader] cannot start: ");
    serial::text(why);
    serial::text(" ");
    serial::text(what);
    serial::text("\r\n");
    entry::halt()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    stop("panic", "")
}
