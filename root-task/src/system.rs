// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole system as the root task sees it: who exists, who can signal whom, whose ring is whose.

use alloc::vec::Vec;

use protocol::client;
use protocol::start::{Range, RangeKind, signal};
use root_task::desk::Desk;
use root_task::layout::RING_PAGES;
use root_task::lifecycle::{Lifecycle, ShortLives};
use sel4::{CapRights, ObjectBlueprint, ObjectBlueprintX86, VmAttributes, cap_type};
use system_spec::bundle::{Bundle, Kind};
use system_spec::compiled;

use crate::failure::{During, Failure};
use crate::firmware::Firmware;
use crate::process::{Common, Process, own_cptr};
use crate::resources::{Arena, Resources, in_slot};

/// Where the root task has its own ring.
const OWN_RING: usize = 0x10_8000_0000;
/// Rings before those of the VMs: the root task's and the servers'.
const SERVER_RINGS: usize = 5;

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub process: Process,
    /// Index in its CNode of the clients' notifications (range `ClientNotifications`).
    pub clients: usize,
    /// Its name, that of its image too.
    pub name: &'static str,
    /// It has said that it is ready.
    pub ready: bool,
    /// How often it was started anew.
    pub restarts: u64,
    /// When it was started last, ticks of the time-stamp counter.
    pub started: u64,
    /// How often it has failed soon after that.
    pub short_lives: ShortLives,
    /// A test has set it on the way to its death.
    #[cfg(feature = "deaths")]
    pub derailed: bool,
    /// It dies when it next calls.
    #[cfg(feature = "deaths")]
    pub doomed: bool,
}

/// A VM that runs.
#[derive(Debug)]
pub struct Vm {
    /// Its VMM, whose arena is the VM's overhead.
    pub process: Process,
    /// Its RAM.
    pub ram: Arena,
    /// When it was started, ticks of the time-stamp counter.
    pub started: u64,
    /// It has ended after so many milliseconds, and is to start again.
    pub restart: Option<u64>,
}

/// What is remembered of a VM beyond its life.
#[derive(Debug, Clone, Copy, Default)]
pub struct Record {
    /// How often it was started.
    pub starts: u32,
    /// The exit code of its last end.
    pub code: Option<u32>,
}

/// The endpoints that servers serve: slots of the root task.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    /// timer-server's.
    pub timer: usize,
    /// iommu-server's.
    pub iommu: usize,
    /// pci-server's.
    pub pci: usize,
}

/// Everything.
pub struct System<'a> {
    /// What the root task has to give.
    pub resources: Resources,
    /// What all parts share.
    pub common: Common,
    /// What firmware says.
    pub firmware: Firmware,
    /// Frames of the regions that firmware reserves for devices and that devices go on reaching, by the region's index: slots.
    pub region_frames: Vec<Vec<usize>>,
    /// Parts and guests.
    pub bundle: Bundle<'a>,
    /// The compiled description.
    pub description: &'a compiled::System<'a>,
    /// Served endpoints.
    pub endpoints: Endpoints,
    /// First slots of the rings' frames.
    rings: Vec<usize>,
    /// Servers by client number, which is their place as well.
    pub servers: [Option<Server>; SERVER_RINGS],
    /// VMs by number.
    pub vms: Vec<Option<Vm>>,
    /// Where each VM is in its life.
    pub life: Lifecycle,
    /// What is remembered of each VM.
    pub records: Vec<Record>,
    /// What somebody is asked about the inside.
    pub desk: Desk,
    /// Ports of devices' BARs that were issued: the first, the last, the slot of their capability.
    pub ports: Vec<(u16, u16, usize)>,
    /// Slot of the root task's reply object.
    pub reply: usize,
}

/// The place of a client's ring: the root task's first (0), then the servers', then the VMs'.
pub const fn ring_place(client: u64) -> usize {
    match client::vm_of(client) {
        Some(vm) => SERVER_RINGS + vm as usize,
        None => client as usize,
    }
}

impl<'a> System<'a> {
    /// Makes what must be there before the first part.
    pub fn new(
        mut resources: Resources,
        common: Common,
        firmware: Firmware,
        bundle: Bundle<'a>,
        description: &'a compiled::System<'a>,
    ) -> Result<Self, Failure> {
        let mut endpoint = || resources.make_own(ObjectBlueprint::Endpoint, 1);
        let endpoints = Endpoints { timer: endpoint()?, iommu: endpoint()?, pci: endpoint()? };
        let reply = resources.make_own(ObjectBlueprint::Reply, 1)?;
        let mut rings = Vec::new();
        for _ in 0..SERVER_RINGS + description.vms.len() {
            rings.push(resources.make_own(ObjectBlueprintX86::_4k.into(), RING_PAGES)?);
        }
        let life = Lifecycle::new(description.vms.iter().map(|vm| (!vm.devices.is_empty(), vm.priority)));
        let vms = description.vms.iter().map(|_| None).collect();
        let servers = [const { None }; SERVER_RINGS];
        Ok(Self {
            resources,
            common,
            firmware,
            region_frames: Vec::new(),
            bundle,
            description,
            endpoints,
            rings,
            servers,
            vms,
            life,
            records: description.vms.iter().map(|_| Record::default()).collect(),
            desk: Desk::new(),
            ports: Vec::new(),
            reply,
        })
    }

    /// First slot of the frames of a client's ring.
    pub fn ring(&self, client: u64) -> usize {
        self.rings[ring_place(client)]
    }

    /// First slot of the frames of the ring at this place.
    pub fn ring_at(&self, place: usize) -> usize {
        self.rings[place]
    }

    /// How many rings there are.
    pub fn rings(&self) -> usize {
        self.rings.len()
    }

    /// Maps the root task's own ring; its address.
    pub fn map_own_ring(&mut self) -> Result<usize, Failure> {
        for n in 0..RING_PAGES {
            let frame = in_slot::<cap_type::_4k>(self.rings[0] + n);
            let address = OWN_RING + n * root_task::layout::PAGE;
            self.resources.map_own(frame, address, CapRights::read_write(), VmAttributes::DEFAULT)?;
        }
        Ok(OWN_RING)
    }

    /// The image of a part.
    pub fn part(&self, name: &str) -> Result<&'a [u8], Failure> {
        let entry = self.bundle.find(Kind::Part, name);
        if entry.is_none() {
            crate::log!("the bundle has no part `{name}`");
        }
        entry.map(|entry| entry.data).during("a part is missing")
    }

    /// The server with this client number.
    pub fn server(&self, client: u64) -> Result<&Server, Failure> {
        self.servers[client as usize].as_ref().during("a server does not run")
    }

    /// Lets the servers that signal clients signal this one: by its own notification, with the right bits.
    pub fn introduce(&self, client: u64, process: &Process) -> Result<(), Failure> {
        let is_vm = client::vm_of(client).is_some();
        let (timer, log_space) = if is_vm {
            (signal::VMM_TIMER, signal::VMM_LOG_SPACE)
        } else {
            (signal::TIMER, signal::LOG_SPACE)
        };
        let mut signals = heapless::Vec::<(u64, u64), 4>::new();
        let _ = signals.extend_from_slice(&[(client::TIMER, timer), (client::CONSOLE, log_space)]);
        if is_vm {
            let own = [(client::PCI, signal::VMM_CONTROL), (client::IOMMU, signal::VMM_DMA_FAULT)];
            let _ = signals.extend_from_slice(&own);
        }
        if client == client::PCI {
            let _ = signals.push((client::IOMMU, signal::DMA_FAULT));
        }
        let index = client::index(client).during("a client without an index")?;
        for (server, bits) in signals {
            if server != client
                && let Some(server) = &self.servers[server as usize]
            {
                server.process.notification_at(server.clients + index, process.notification, bits)?;
            }
        }
        Ok(())
    }

    /// Reserves the slots of clients' notifications in a server, and says so in its start page.
    pub fn reserve_clients(process: &mut Process) -> Result<usize, Failure> {
        let first = process.reserve(client::MAX_CLIENTS)?;
        let range = Range::new(RangeKind::ClientNotifications, own_cptr(first), client::MAX_CLIENTS as u64);
        process.ranges.push(range);
        Ok(first)
    }
}
