// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O spaces and their tables.

use kernel_tests::env::at;
use kernel_tests::{Env, Outcome, check_eq};
use sel4::init_thread::slot;
use sel4::{CapRights, Error, IOSpaceCapData, cap};

kernel_tests::checks! {
    domain_ids_have_one_owner_each,
    table_of_many_io_pages,
}

/// The machine's ISA bridge, SATA and SMBus controllers, and what is behind the root port.
const REQUESTERS: [u16; 4] = [0xf8, 0xfa, 0xfb, 0x100];
const FIRST_DOMAIN: u16 = 10;
const PAGES: usize = 400;
const IOVA: usize = 0x1020_0000;

fn space(env: &mut Env, domain: u16, requester: u16) -> Outcome<cap::IOSpace> {
    let data = IOSpaceCapData::new(domain, requester).into_word();
    env.mint(slot::IO_SPACE.cap(), CapRights::all(), data)
}

fn domain_ids_have_one_owner_each(env: &mut Env) -> Outcome {
    for (domain, requester) in (FIRST_DOMAIN..).zip(REQUESTERS) {
        let space = space(env, domain, requester)?;
        let table: cap::IOPageTable = env.make()?;
        for other in FIRST_DOMAIN..domain {
            let taken = self::space(env, other, requester)?;
            check_eq!(table.iopt_map(taken, IOVA), Err(Error::DeleteFirst), "a domain ID in use");
        }
        table.iopt_map(space, IOVA)?;
    }
    Ok(())
}

fn table_of_many_io_pages(env: &mut Env) -> Outcome {
    let space = space(env, FIRST_DOMAIN, 0xf8)?;
    let mut last = None;
    for _ in 0..env.bootinfo.io_pt_levels().unwrap_or(0) {
        let table: cap::IOPageTable = env.make()?;
        table.iopt_map(space, IOVA)?;
        last = Some(table);
    }
    for page in 0..PAGES {
        let frame: cap::Granule = env.make()?;
        space.io_space_map_frame(frame, CapRights::read_write(), IOVA + page * 4096)?;
    }
    if let Some(table) = last {
        at(table).delete()?;
    }
    Ok(())
}
