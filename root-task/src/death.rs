// SPDX-License-Identifier: MIT OR Apache-2.0
//! Servers that fail: started anew, or the machine halts.

use protocol::client;
use root_task::lifecycle::State;
use system_spec::compiled::OnServerFault;

use crate::end::End;
use crate::failure::Failure;
use crate::log;
use crate::power;
use crate::process;
use crate::system::{Server, System};
#[cfg(feature = "deaths")]
use {
    crate::failure::During,
    crate::supervisor::{Answer, VMM_FAILED},
    protocol::supervisor::{Death, Kill},
};

impl System<'_> {
    /// The server with this client number, if it was started.
    pub fn server_mut(&mut self, client: u64) -> Option<&mut Server> {
        self.servers.get_mut(usize::try_from(client).ok()?)?.as_mut()
    }

    /// A server has failed. Without it nothing comes or goes any more, so it is started anew; if that can't be, the whole machine stops,
    /// visibly.
    pub fn server_failed(&mut self, client: u64, end: &End) {
        let khz = self.common.tsc_khz.max(1);
        let now = crate::raw::tsc();
        let Some(server) = self.server_mut(client) else { self.halt("an unknown part", client, end) };
        let name = server.name;
        // What has never been ready can't be it now either.
        let may = server.ready && server.short_lives.again(now.wrapping_sub(server.started) / khz);
        if !may || self.description.on_server_fault(client) == OnServerFault::Halt {
            self.halt(name, client, end);
        }
        log!("{name} has failed: {end}");
        self.gone(client);
        if let Err(failure) = self.start_server_again(client) {
            log!("{name} can't be started again: {failure}");
            self.halt(name, client, end);
        }
    }

    fn start_server_again(&mut self, client: u64) -> Result<(), Failure> {
        let Some(mut server) = self.servers[client as usize].take() else { return Ok(()) };
        server.restarts += 1;
        #[cfg(feature = "deaths")]
        {
            (server.derailed, server.doomed) = (false, false);
        }
        server.started = crate::raw::tsc();
        let image = self.part(server.name).and_then(process::image);
        let started =
            image.and_then(|image| server.process.start_again(&mut self.resources, &image, server.restarts));
        let (name, restarts) = (server.name, server.restarts);
        self.servers[client as usize] = Some(server);
        started?;
        if client == client::PCI {
            // It may have taken these signals and done nothing.
            for vm in 0..self.vms.len() {
                if self.life.state(vm) == Some(State::Quieting) {
                    self.tell_pci(vm as u16);
                }
            }
        }
        let (kib, slots) = (self.resources.ram.bytes() >> 10, self.resources.slots.left());
        log!("{name}: started again ({restarts} times so far): {kib} KiB and {slots} slots are free");
        Ok(())
    }

    fn halt(&mut self, name: &str, client: u64, end: &End) -> ! {
        if client == client::CONSOLE {
            power::take_com1_back(self);
        }
        self.stop_everything();
        log!("{name} has failed: {end}");
        log!("halted");
        power::stop()
    }
}

#[cfg(feature = "deaths")]
impl System<'_> {
    /// Whether this call is one in the middle of which a test wants the caller dead; then it is.
    pub(crate) fn dies_in_call(&mut self, client: u64) -> bool {
        let doomed = self.server_mut(client).is_some_and(|server| server.doomed);
        if doomed {
            self.server_failed(client, &End::Killed);
        }
        doomed
    }

    /// A test's part wants another one dead.
    pub(crate) fn kill(&mut self, kill: Kill) -> Answer {
        let Kill { client, death } = kill;
        let vm = client::vm_of(client).map(usize::from);
        if self.server_mut(client).is_some_and(|server| server.derailed) {
            // It hasn't come to its death yet.
            return Answer::NotYours;
        }
        if death == Death::Stopped {
            match vm {
                Some(vm) => self.ended(vm, &End::Killed, VMM_FAILED),
                None => self.server_failed(client, &End::Killed),
            }
            return Answer::Done;
        }
        if death == Death::Call {
            let Some(server) = self.server_mut(client) else { return Answer::NotYours };
            (server.derailed, server.doomed) = (true, true);
            return Answer::Done;
        }
        let process = match vm {
            Some(vm) => self.vms.get(vm).and_then(Option::as_ref).map(|vm| &vm.process),
            None => self.server_mut(client).map(|server| {
                server.derailed = true;
                &server.process
            }),
        };
        let derailed = process.during("nobody of that number runs");
        match derailed.and_then(|process| process.derail(death == Death::Fault)) {
            Ok(()) => Answer::Done,
            Err(failure) => {
                log!("client {client:#x} can't be killed: {failure}");
                Answer::NotYours
            }
        }
    }
}
