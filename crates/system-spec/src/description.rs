// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the TOML text of a description, shows everything that is wrong with it at once, and compiles it.

use core::ops::Range;
use std::collections::HashMap;

use crate::check::{Key, Place, check};
use crate::compiled::{self, Action, Console, DEFAULT_PRIORITY, EntryFlush, OnServerFault};
use crate::diagnostic::{Diagnostic, Severity};
use crate::language::{self, Section};
use crate::path::{DevFn, GuestSlot, Location};
use crate::reader::{Reader, Table};
use crate::units;

/// A description whose text has been read. It owns its texts; [`Description::system`] borrows them.
#[derive(Clone, Debug, Default)]
pub struct Description {
    name: String,
    pci: compiled::Pci,
    servers: [OnServerFault; compiled::SERVERS.len()],
    vms: Vec<Vm>,
}

/// Says of an image's name what is wrong and what would be right, if anything is.
pub type ImageJudge<'a> = dyn FnMut(&str) -> Result<(), (String, String)> + 'a;

#[derive(Clone, Debug)]
struct Vm {
    name: String,
    image: String,
    args: String,
    memory: u64,
    priority: u8,
    cpu: u8,
    time: Option<compiled::Time>,
    on_exit: Action,
    on_fault: Action,
    entry_flush: EntryFlush,
    devices: heapless::Vec<compiled::Device, { compiled::MAX_DEVICES }>,
}

impl Description {
    /// Reads a description and judges it by every rule. Accepted, it comes with its warnings; refused, all remarks
    /// come at once, in the order of the file.
    ///
    /// # Errors
    /// Every error and warning of the text.
    pub fn read(text: &str) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        Self::read_judging(text, &mut |_| Ok(()))
    }

    /// [`Description::read`], asking `judge` about each `vm.image` that could be read: what the host's files say of it
    /// is shown with everything else. It answers with what is wrong and what would be right.
    ///
    /// # Errors
    /// As [`Description::read`].
    pub fn read_judging(
        text: &str,
        judge: &mut ImageJudge<'_>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut reader = Reader::new(text);
        let document = reader.document();
        let mut places = Places::default();
        let description = describe(&mut reader, &document, &mut places);
        let mut remarks = reader.finish();
        check(&description.system(), &mut |finding| {
            if let Some(span) = places.of(finding.place) {
                remarks.push(Diagnostic::error(
                    span,
                    finding.problem.to_string(),
                    finding.problem.help().to_owned(),
                ));
            }
        });
        for (index, vm) in description.vms.iter().enumerate().filter(|(_, vm)| !vm.image.is_empty()) {
            let Some(span) = places.of(Place::Vm(index, Key::Image)) else { continue };
            if let Err((message, help)) = judge(&vm.image) {
                remarks.push(Diagnostic::error(span, message, help));
            }
        }
        remarks.sort_by_key(|remark| (remark.span.start, remark.span.end));
        if remarks.iter().any(|remark| remark.severity == Severity::Error) {
            Err(remarks)
        } else {
            Ok((description, remarks))
        }
    }

    /// The compiled form.
    #[must_use]
    pub fn system(&self) -> compiled::System<'_> {
        let vms = self.vms.iter().map(|vm| compiled::Vm {
            name: &vm.name,
            image: &vm.image,
            args: &vm.args,
            memory: vm.memory,
            priority: vm.priority,
            cpu: vm.cpu,
            time: vm.time,
            on_exit: vm.on_exit,
            on_fault: vm.on_fault,
            entry_flush: vm.entry_flush,
            console: Console::Log,
            devices: vm.devices.clone(),
        });
        compiled::System {
            name: &self.name,
            pci: self.pci.clone(),
            servers: self.servers,
            vms: vms.collect(),
        }
    }

    /// The bytes of the compiled form, for the bundle.
    ///
    /// # Errors
    /// None in practice: every type of it can be encoded.
    pub fn compile(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(&self.system())
    }
}

/// Where in the text each judged thing is. What could not be read has no place, so that a rule which trips over its
/// absence isn't shown on top of the error that caused it.
#[derive(Default)]
struct Places {
    spans: HashMap<Place, Range<usize>>,
    reserve_incomplete: bool,
    matches_incomplete: bool,
}

impl Places {
    fn of(&self, place: Place) -> Option<Range<usize>> {
        self.spans.get(&place).cloned()
    }

    fn put(&mut self, place: Place, span: Range<usize>) {
        self.spans.insert(place, span);
    }
}

fn describe(reader: &mut Reader<'_>, top: &Table<'_>, places: &mut Places) -> Description {
    let mut description = Description::default();
    reader.known_keys(top, &language::TOP);
    if let Some(system) = reader.required_table(top, "system", &language::SYSTEM) {
        reader.known_keys(&system, &language::SYSTEM);
        if let Some((name, span)) = reader.required_text(&system, "name", &language::SYSTEM) {
            description.name = name;
            places.put(Place::SystemName, span);
        }
    }
    if let Some(pci) = reader.table(top, "pci") {
        reader.known_keys(&pci, &language::PCI);
        describe_pci(reader, &pci, &mut description.pci, places);
    }
    if let Some(servers) = reader.table(top, "server") {
        describe_servers(reader, &servers, &mut description.servers);
    }
    let vms = reader.tables(top, "vm");
    if let Some(span) = vms.first().map(|vm| vm.span.clone()) {
        places.put(Place::Vms, span);
    } else if !top.has("vm") {
        places.put(Place::Vms, 0..0);
    }
    for (index, table) in vms.iter().enumerate() {
        if index == compiled::MAX_VMS {
            let message = format!("more than {} VMs", compiled::MAX_VMS);
            reader.error(table.span.clone(), message, "leave some out");
            break;
        }
        let vm = describe_vm(reader, table, index, places);
        description.vms.push(vm);
    }
    description
}

/// What follows a server's failure.
fn describe_servers(
    reader: &mut Reader<'_>,
    servers: &Table<'_>,
    described: &mut [OnServerFault; compiled::SERVERS.len()],
) {
    reader.known_keys(servers, &language::SERVERS);
    for (name, on_fault) in compiled::SERVERS.iter().zip(described) {
        if let Some(server) = reader.table(servers, name) {
            reader.known_keys(&server, &language::SERVER);
            if reader.choice(&server, &language::SERVER_ON_FAULT) == Some("halt") {
                *on_fault = OnServerFault::Halt;
            }
        }
    }
}

fn describe_pci(reader: &mut Reader<'_>, table: &Table<'_>, pci: &mut compiled::Pci, places: &mut Places) {
    for (text, span) in reader.texts(table, "matches") {
        match text.parse() {
            Ok(entry) => {
                if pci.matches.push(entry).is_err() {
                    reader.error(
                        span,
                        format!("more than {} entries", compiled::MAX_MATCHES),
                        "leave some out",
                    );
                }
            }
            Err(error) => {
                places.matches_incomplete = true;
                reader.error(span, "this is no identity of a PCI device", error.to_string());
            }
        }
    }
    for (text, span) in reader.texts(table, "reserve") {
        let Some(location) = location(reader, &text, span.clone()) else {
            places.reserve_incomplete = true;
            continue;
        };
        places.put(Place::Reserve(pci.reserve.len()), span.clone());
        if pci.reserve.push(location).is_err() {
            reader.error(span, format!("more than {} entries", compiled::MAX_RESERVED), "leave some out");
        }
    }
    describe_rmrr(reader, table, pci, places);
    if let Some((limit, span)) = reader.integer(table, "fault-limit") {
        match u16::try_from(limit) {
            Ok(limit) if limit > 0 => pci.fault_limit = limit,
            _ => {
                reader.error(span, "this is no number of DMA faults", "from 1 to 65535; 16 if it isn't said")
            }
        }
    }
    if let Some(vfs) = reader.table(table, "vfs") {
        virtual_functions(reader, &vfs, pci, places);
    }
    if places.matches_incomplete && pci.matches.is_empty() {
        places.spans.remove(&Place::Reserve(0));
    }
}

/// `{ "/path" = 2 }`.
fn virtual_functions(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    pci: &mut compiled::Pci,
    places: &mut Places,
) {
    // In the order of the file.
    let mut keys = table.keys();
    keys.sort_by_key(|(_, span)| span.start);
    for (path, span) in keys {
        let Some(location) = location(reader, &path, span.clone()) else { continue };
        let Some((count, number)) = reader.integer(table, &path) else { continue };
        let Ok(count) = u8::try_from(count) else {
            reader.error(number, "this is no number of virtual functions", "from 1 to 255");
            continue;
        };
        if !places.reserve_incomplete {
            places.put(Place::Virtuals(pci.vfs.len()), span.clone());
        }
        if pci.vfs.push((location, count)).is_err() {
            reader.error(span, format!("more than {} entries", compiled::MAX_PHYSICAL), "leave some out");
        }
    }
}

fn describe_rmrr(reader: &mut Reader<'_>, table: &Table<'_>, pci: &mut compiled::Pci, places: &mut Places) {
    for ((path, path_span), (word, span)) in reader.pairs(table, "rmrr") {
        let Some(location) = location(reader, &path, path_span.clone()) else { continue };
        let Some(policy) = language::POLICIES.into_iter().find(|policy| policy.word() == word) else {
            let message = format!("reserved memory can't be \"{word}\"");
            reader.error(span, message, "write \"refuse\", \"map\" or \"accept\"");
            continue;
        };
        // With a part of `reserve` unread nobody can say that a path is missing there.
        if !places.reserve_incomplete {
            places.put(Place::Rmrr(pci.rmrr.len()), path_span.clone());
        }
        if pci.rmrr.push((location, policy)).is_err() {
            reader.error(
                path_span,
                format!("more than {} entries", compiled::MAX_RESERVED),
                "leave some out",
            );
        }
    }
}

fn describe_vm(reader: &mut Reader<'_>, table: &Table<'_>, index: usize, places: &mut Places) -> Vm {
    let section = &language::VM;
    reader.known_keys(table, section);
    let mut place = |key, span: &Range<usize>| places.put(Place::Vm(index, key), span.clone());
    // What is missing or unreadable is replaced by something that breaks no rule.
    let mut vm = Vm {
        name: format!("vm-{index}-unread"),
        image: "unread".into(),
        args: String::new(),
        memory: compiled::MEMORY_STEP,
        priority: DEFAULT_PRIORITY,
        cpu: 0,
        time: None,
        on_exit: Action::Stop,
        on_fault: Action::Stop,
        entry_flush: EntryFlush::Auto,
        devices: heapless::Vec::new(),
    };
    if let Some((name, span)) = reader.required_text(table, "name", section) {
        place(Key::Name, &span);
        vm.name = name;
    }
    if let Some((image, span)) = reader.required_text(table, "image", section) {
        place(Key::Image, &span);
        vm.image = image;
    }
    if let Some((args, span)) = reader.text(table, "args") {
        place(Key::Args, &span);
        vm.args = args;
    }
    if let Some((text, span)) = reader.required_text(table, "memory", section) {
        match units::size(&text) {
            Some(bytes) => {
                place(Key::Memory, &span);
                vm.memory = bytes;
            }
            None => reader.error(span, "this is no size", "write a number and a unit, for example \"64M\""),
        }
    }
    if let Some((priority, span)) = reader.integer(table, "priority") {
        match u8::try_from(priority) {
            Ok(priority) => {
                place(Key::Priority, &span);
                vm.priority = priority;
            }
            Err(_) => reader.error(span, "this is no priority", "from 0 to 200"),
        }
    }
    vm.cpu = processor(reader, table);
    vm.time = time(reader, table, &mut place);
    if let Some((vcpus, span)) = reader.integer(table, "vcpus").filter(|(vcpus, _)| *vcpus != 1) {
        if vcpus > 1 {
            reader.not_yet(span, "more than one virtual CPU", "leave it out, or write 1");
        } else {
            reader.error(span, "a VM has at least one virtual CPU", "write 1");
        }
    }
    for choice in [&language::BOOT, &language::CONSOLE] {
        // Of these only one thing is built.
        let _ = reader.choice(table, choice);
    }
    vm.entry_flush = entry_flush(reader, table);
    vm.on_fault = action(reader.choice(table, &language::ON_FAULT));
    vm.on_exit = action(reader.choice(table, &language::ON_EXIT));
    vm.devices = devices(reader, table, index, places);
    vm
}

fn entry_flush(reader: &mut Reader<'_>, table: &Table<'_>) -> EntryFlush {
    match reader.choice(table, &language::ENTRY_FLUSH) {
        Some("on") => EntryFlush::On,
        Some("off") => {
            if let Some((_, span)) = reader.text(table, language::ENTRY_FLUSH.key) {
                let help = "it may read what others leave in the processor, where the processor can't keep them apart; \
                            leave it out unless you would show it all";
                reader.warning(span, "this guest is entered without any flush", help);
            }
            EntryFlush::Off
        }
        _ => EntryFlush::Auto,
    }
}

fn action(word: Option<&str>) -> Action {
    match word {
        Some("restart") => Action::Restart,
        Some("halt") => Action::Halt,
        _ => Action::Stop,
    }
}

/// `cpus`: the one processor that is listed, the first of the machine if the key is absent.
fn processor(reader: &mut Reader<'_>, table: &Table<'_>) -> u8 {
    let Some((numbers, span)) = reader.integers(table, "cpus") else { return 0 };
    match numbers[..] {
        [number] if (0..compiled::MAX_CPUS).contains(&number) => number as u8,
        [_] => {
            let help = format!("from 0 to {}; 0 is the processor that boots", compiled::MAX_CPUS - 1);
            reader.error(span, "this is no processor", help);
            0
        }
        [] => {
            reader.error(
                span,
                "a VM needs a processor",
                "write one number, for example [1], or leave it out",
            );
            0
        }
        _ => {
            reader.not_yet(span, "more than one processor for a VM", "write one number, for example [1]");
            0
        }
    }
}

/// `budget` and `period`; one without the other is an error.
fn time(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    place: &mut dyn FnMut(Key, &Range<usize>),
) -> Option<compiled::Time> {
    let mut duration = |key| {
        let (text, span) = reader.text(table, key)?;
        let read = units::duration(&text);
        if read.is_none() {
            let help = "write a number and a unit, for example \"5ms\"";
            reader.error(span.clone(), "this is no duration", help);
        }
        Some((read, span))
    };
    match (duration("budget"), duration("period")) {
        (Some((budget, span)), Some((period, _))) => {
            place(Key::Budget, &span);
            Some(compiled::Time { budget: budget?, period: period? })
        }
        (Some((_, span)), None) => {
            reader.error(span, "a budget needs a period", "add `period`, for example \"10ms\"");
            None
        }
        (None, Some((_, span))) => {
            reader.error(span, "a period needs a budget", "add `budget`, for example \"5ms\"");
            None
        }
        (None, None) => None,
    }
}

type Devices = heapless::Vec<compiled::Device, { compiled::MAX_DEVICES }>;

fn devices(reader: &mut Reader<'_>, vm_table: &Table<'_>, vm: usize, places: &mut Places) -> Devices {
    let tables = reader.tables(vm_table, "device");
    let mut slots = Vec::new();
    for table in &tables {
        reader.known_keys(table, &language::DEVICE);
        slots.push(slot(reader, table));
    }
    let mut devices = Devices::new();
    for (table, slot) in tables.iter().zip(slots.clone()) {
        let path = reader.required_text(table, "path", &language::DEVICE);
        let vectors = reader.integer(table, "vectors");
        let rom = reader.boolean(table, "rom").unwrap_or(false);
        let Some((path, path_span)) = path else { continue };
        let Some(path) = location(reader, &path, path_span.clone()) else { continue };
        let place = |key| Place::Device(vm, devices.len(), key);
        // With a part of `reserve` unread nobody can say that a path is missing there.
        if !places.reserve_incomplete {
            places.put(place(Key::Path), path_span);
        }
        let slot = match slot {
            Some((Some(slot), span)) => {
                places.put(place(Key::Slot), span);
                slot
            }
            Some((None, _)) | None => {
                let taken =
                    |slot: &GuestSlot| devices.iter().map(|device| &device.slot).any(|other| other == slot);
                free_slot(&slots, taken)
            }
        };
        let vectors = vectors.and_then(|(vectors, span)| match u8::try_from(vectors) {
            Ok(vectors) => {
                places.put(place(Key::Vectors), span);
                Some(vectors)
            }
            Err(_) => {
                reader.error(span, "this is no number of vectors", "from 1 to 32");
                None
            }
        });
        let intx = reader.integer(table, "intx").and_then(|(intx, span)| match u8::try_from(intx) {
            Ok(intx) => {
                places.put(Place::Device(vm, devices.len(), Key::Intx), span);
                Some(intx)
            }
            Err(_) => {
                reader.error(span, "this is no global interrupt of a PCI device's line", "from 16 to 239");
                None
            }
        });
        if devices.push(compiled::Device { path, slot, vectors, intx, rom }).is_err() {
            let message = format!("more than {} devices in one VM", compiled::MAX_DEVICES);
            reader.error(table.span.clone(), message, "leave some out");
            break;
        }
    }
    devices
}

/// What a device table says of its slot: nothing, something unreadable, or a slot; and where.
type Slot = Option<(Option<GuestSlot>, Range<usize>)>;

fn slot(reader: &mut Reader<'_>, table: &Table<'_>) -> Slot {
    let (text, span) = reader.text(table, "slot")?;
    let read = text.parse::<GuestSlot>().ok();
    if read.is_none() {
        reader.error(span.clone(), "this is no slot", "write bus:device.function, for example \"00:08.0\"");
    }
    Some((read, span))
}

/// The lowest slot that no device of the VM names and none was given.
fn free_slot(named: &[Slot], taken: impl Fn(&GuestSlot) -> bool) -> GuestSlot {
    let slots = (1..32).map(|device| GuestSlot { bus: 0, function: DevFn(device << 3) });
    let named = |slot: &GuestSlot| {
        named
            .iter()
            .flatten()
            .any(|(other, _)| other.is_some_and(|other| other.function.0 & !7 == slot.function.0))
    };
    // A VM has fewer devices than its bus has slots.
    slots
        .into_iter()
        .find(|slot| !named(slot) && !taken(slot))
        .unwrap_or(GuestSlot { bus: 0, function: DevFn(8) })
}

fn location(reader: &mut Reader<'_>, text: &str, span: Range<usize>) -> Option<Location> {
    match text.parse::<Location>() {
        Ok(location) => {
            if let Location::Address(_) = location {
                let help = "firmware may renumber buses; write the physical path (\"/00:1c.0/00.0\") that the boot \
                            log shows for it";
                reader.warning(span, "this is a bus address", help);
            }
            Some(location)
        }
        Err(error) => {
            reader.error(span, "this is no physical path", error.to_string());
            None
        }
    }
}

/// Every key of the language with its state, for the tool's help: `(table, key, built)`.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let sections: [&'static Section; 7] = [
        &language::TOP,
        &language::SYSTEM,
        &language::PCI,
        &language::SERVERS,
        &language::SERVER,
        &language::VM,
        &language::DEVICE,
    ];
    sections.into_iter().flat_map(|section| {
        section.keys.iter().map(|(key, status)| (section.name, *key, *status == language::Status::Built))
    })
}
