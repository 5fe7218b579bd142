// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start-up and the loop: frames in, answers, frames out, sleep.

use crate::alarm::Alarm;
use crate::nic::{Card, NicError, e1000e, virtio};
use crate::page::{self, Counters, Device, Identity};
use crate::server::{PORT, Server};
use crate::settings::Settings;
use alloc::{format, string::ToString, vec::Vec};
use core::cell::Cell;
use guest_runtime::{apic, boot, cpu, cpuid, exit, heap_usage, irq, memory, pci, println, time};
use smoltcp::iface::{Config, Interface};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

/// The exit code where the command line can't be read or there is no network.
const UNUSABLE: u32 = 2;

pub fn main() -> u32 {
    let settings = match Settings::parse(boot::command_line()) {
        Ok(settings) => settings,
        Err(word) => {
            println!("http: \"{word}\" on the command line can't be understood");
            return UNUSABLE;
        }
    };
    let served = if let Some(function) = virtio::Nic::find() {
        virtio::Nic::new(&function).and_then(|mut nic| run(&mut nic, settings))
    } else if let Some(function) = e1000e::Nic::find() {
        e1000e::Nic::new(&function).and_then(|mut nic| run(&mut nic, settings))
    } else {
        println!("http: there is no network device that this image drives (1af4:1041, 8086:10d3)");
        return UNUSABLE;
    };
    match served {
        Ok(()) => 0,
        Err(why) => {
            println!("http: stopped: {why}");
            UNUSABLE
        }
    }
}

/// Serves by this card.
fn run(nic: &mut impl Card, settings: Settings) -> Result<(), NicError> {
    let mut interface = new_interface(nic, settings);
    let identity = identify(nic, settings);
    println!("http: listening on http://{}/", identity.address);
    serve(nic, &mut interface, &identity, settings)
}

fn now() -> Instant {
    Instant::from_micros((time::now() / 1000) as i64)
}

fn new_interface(nic: &mut impl Card, settings: Settings) -> Interface {
    let mut config = Config::new(EthernetAddress(nic.mac()).into());
    // Initial sequence numbers hang on it; the time of the start is a poor guess-proofing, but all there is without RDRAND.
    config.random_seed = cpu::random().unwrap_or_else(cpu::rdtsc);
    let mut interface = Interface::new(config, nic, now());
    interface.update_ip_addrs(|addresses| {
        let full = addresses.push(IpCidr::new(IpAddress::Ipv4(settings.address), settings.prefix));
        debug_assert!(full.is_ok(), "there is room for one address");
    });
    if let Some(gateway) = settings.gateway {
        let full = interface.routes_mut().add_default_ipv4_route(gateway);
        debug_assert!(full.is_ok(), "there is room for one route");
    }
    interface
}

/// Asks everything once: reading configuration space costs exits.
fn identify(nic: &impl Card, settings: Settings) -> Identity {
    let mut devices = Vec::new();
    pci::for_each(|function| {
        let ids = function.ids();
        let address = function.address().to_string();
        devices.push(Device { address, ids: (ids.vendor, ids.device), class: ids.class });
    });
    Identity {
        cpu: cpuid::vendor().to_string(),
        hypervisor: cpuid::hypervisor().map_or("none".into(), |name| name.to_string()),
        memory: memory::usable_bytes(boot::memory_map()) / 1024,
        address: format!("{}:{PORT}", settings.address),
        mac: nic.mac(),
        devices,
    }
}

/// Serves until the device fails or, if the settings say so, enough pages have been served.
fn serve(
    nic: &mut impl Card,
    interface: &mut Interface,
    identity: &Identity,
    settings: Settings,
) -> Result<(), NicError> {
    let mut server = Server::new();
    let mut alarm = Alarm::new(apic::longest());
    let pages = Cell::new(0);
    let vectors = nic.vectors();
    let mut config_changes = 0;
    let mut page = || {
        pages.set(pages.get() + 1);
        let counters = Counters {
            uptime: time::now(),
            heap: heap_usage().0 as u64 / 1024,
            receive: irq::count(vectors.receive),
            transmit: irq::count(vectors.transmit),
            config: irq::count(vectors.config),
            timer: irq::timer_count(),
            requests: pages.get(),
        };
        if settings.statistics_every.is_some_and(|every| pages.get().is_multiple_of(every)) {
            println!("http: {} pages", pages.get());
            exit::log_exit_counts();
        }
        page::render(identity, &counters)
    };
    loop {
        // Interrupts are off here; they only ever come while sleeping.
        interface.poll(now(), nic, server.sockets());
        server.serve(time::now(), &mut page);
        // What was just written goes out, and what came meanwhile is taken.
        interface.poll(now(), nic, server.sockets());
        nic.flush();
        if irq::count(vectors.config) != config_changes {
            config_changes = irq::count(vectors.config);
            nic.configuration_changed();
        }
        if let Some(error) = nic.failure() {
            return Err(error);
        }
        if settings.end_after.is_some_and(|last| pages.get() >= last) && server.is_idle() {
            println!("http: {} pages served, that's enough", pages.get());
            return Ok(());
        }

        let smoltcp_deadline =
            interface.poll_at(now(), server.sockets()).map(|at| at.total_micros() as u64 * 1000);
        let deadline = [smoltcp_deadline, server.next_deadline(time::now())].into_iter().flatten().min();
        let time = time::now();
        let work_left = deadline.is_some_and(|deadline| deadline <= time) && !nic.is_stuck();
        if !work_left && nic.prepare_to_sleep() {
            if let Some(nanoseconds) = alarm.set(time, deadline) {
                apic::arm(nanoseconds);
            }
            let timers = irq::timer_count();
            irq::wait();
            if irq::timer_count() != timers {
                alarm.fired();
            }
        }
        nic.woken();
    }
}
