// SPDX-License-Identifier: MIT OR Apache-2.0
//! The root task: it owns everything the kernel gave away, builds the other parts from the bundle, gives each what its job
//! needs, and takes back what ended.
#![no_std]
#![no_main]
#![deny(unsafe_code)]
extern crate alloc;

mod death;
mod end;
mod failure;
mod firmware;
mod log;
mod look;
mod power;
mod process;
mod raw;
mod reserved;
mod resources;
mod servers;
mod supervisor;
mod system;
mod vms;

use failure::{During, Failure};
use process::Common;
use protocol::start::Extensions;
use resources::Resources;
use sel4::{BootInfoPtr, ObjectBlueprint, abi::bootinfo as abi};
use sel4_root_task::Com1;
use system::System;
use system_spec::bundle::{Bundle, Locator};
use system_spec::compiled;

sel4_root_task::declare!(main, stack_size = 256 * 1024);
sel4_root_task::declare_heap!(512 * 1024);

/// Where `postern build` writes the bundle's place.
#[used]
#[allow(unsafe_code)] // A section of its own lets the tool find it.
#[unsafe(link_section = ".bundle_locator")]
static LOCATOR: Locator = Locator::new();

/// Log2 of the bytes that the root task keeps for its own objects: rings, endpoints, tables.
const OWN_BITS: u8 = 22;

fn main(bootinfo: &BootInfoPtr) -> ! {
    let Err(failure) = run(bootinfo);
    log!("the system can't start: {failure}");
    log!("halted");
    power::stop()
}

fn run(bootinfo: &BootInfoPtr) -> Result<core::convert::Infallible, Failure> {
    let mut resources = Resources::new(bootinfo, OWN_BITS)?;
    let ports = resources.slot()?;
    Com1::issue(ports).during("taking COM1's ports")?;
    log::to_com1(ports);

    let bundle = bundle()?;
    let description = match compiled::System::read(bundle.description()) {
        Ok(description) => description,
        Err(error) => {
            log!("{error}");
            return Err(Failure::new("the description can't be used"));
        }
    };
    let count = description.vms.len();
    log!("system \"{}\": {count} virtual machine{}", description.name, if count == 1 { "" } else { "s" });
    let common = common(bootinfo, &mut resources)?;
    say_extensions(&common);
    let firmware = firmware::read(bootinfo, &mut resources);
    let mut system = System::new(resources, common, firmware, bundle, &description)?;
    if common.extensions.vcpu_backend != abi::BACKEND_SVM {
        for (number, vm) in description.vms.iter().enumerate() {
            log!(
                "vm {}: refused: this machine has no hardware virtualization that is supported (AMD SVM)",
                vm.name
            );
            system.life.refuse(number);
        }
    }
    system.start_console(ports)?;
    system.start_timer()?;
    system.take_regions();
    system.start_iommu()?;
    system.start_pci(bootinfo)?;
    system.supervise()
}

fn bundle() -> Result<Bundle<'static>, Failure> {
    let (address, length) =
        LOCATOR.get().during("the image has no bundle: it was not made by `postern build`")?;
    // SAFETY: the tool put a read-only segment of this length there and wrote so into the locator; the kernel mapped it.
    #[allow(unsafe_code)]
    let bytes = unsafe { raw::bytes(address, length) };
    Bundle::parse(bytes).map_err(|error| {
        log!("{error}");
        Failure::new("the bundle can't be used")
    })
}

fn common(bootinfo: &BootInfoPtr, resources: &mut Resources) -> Result<Common, Failure> {
    let extensions = bootinfo.extensions().map_or(Extensions::default(), |found| Extensions {
        version: found.version,
        features: found.features,
        vcpu_backend: found.vcpu_backend,
        irte_count: found.irte_count,
        first_label: found.first_label,
        first_type: found.first_type,
        dma_fault_slot: found.dma_fault_slot,
    });
    Ok(Common {
        supervisor: resources.make_own(ObjectBlueprint::Endpoint, 1)?,
        sched_control: bootinfo.sched_control(0).during("there is no scheduling control")?.index(),
        processors: bootinfo.num_nodes(),
        tsc_khz: u64::from(bootinfo.tsc_mhz().during("the kernel doesn't tell the clock's frequency")?)
            * 1000,
        io_levels: bootinfo.io_pt_levels().unwrap_or(0) as u64,
        extensions,
    })
}

/// Says what this machine or this kernel lacks.
fn say_extensions(common: &Common) {
    let extensions = common.extensions;
    if extensions.version == 0 {
        log!("this kernel has none of Postern's extensions: no device is passed through");
    } else if extensions.features & abi::FEATURE_DMA_REMAPPING == 0 {
        log!("this machine has no IOMMU that is supported (Intel VT-d): no device is passed through");
    } else if extensions.features & abi::FEATURE_INTERRUPT_REMAPPING == 0 {
        log!("interrupt remapping is off: no device is passed through");
    }
    if extensions.vcpu_backend == abi::BACKEND_NONE {
        log!("this machine has no hardware virtualization (AMD SVM): no virtual machine can run");
    }
}
