// SPDX-License-Identifier: MIT OR Apache-2.0
//! Taking apart what much hangs on.

use kernel_tests::env::{HIGH, at};
use kernel_tests::{Env, Outcome};
use sel4::init_thread::slot;
use sel4::{CapRights, cap, cap_type};

use crate::crowd::{Act, Crowd};

kernel_tests::checks! {
    endpoint_that_many_send_to,
    notification_that_many_wait_for,
    senders_of_one_badge,
    all_ports,
    all_ports_opened_to_a_guest_by_many_copies,
}

/// Threads that wait.
const MANY: usize = 1500;

fn endpoint_that_many_send_to(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    Crowd::start(env, MANY, |_| Act::send(HIGH, endpoint))?;
    Ok(at(endpoint).delete()?)
}

fn notification_that_many_wait_for(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    Crowd::start(env, MANY, |_| Act::wait(HIGH, notification))?;
    Ok(at(notification).delete()?)
}

fn senders_of_one_badge(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let one = env.mint(endpoint, CapRights::all(), 1)?;
    let two = env.mint(endpoint, CapRights::all(), 2)?;
    Crowd::start(env, MANY, |i| Act::send(HIGH, if i % 2 == 0 { one } else { two }))?;
    at(one).delete()?;
    at(two).cancel_badged_sends()?;
    Ok(())
}

fn all_ports(env: &mut Env) -> Outcome {
    let ports = env.empty::<cap_type::IOPort>()?;
    slot::IO_PORT_CONTROL.cap().ioport_control_issue(0x1000, 0xffff, &at(ports))?;
    Ok(at(ports).delete()?)
}

fn all_ports_opened_to_a_guest_by_many_copies(env: &mut Env) -> Outcome {
    let ports = env.empty::<cap_type::IOPort>()?;
    slot::IO_PORT_CONTROL.cap().ioport_control_issue(0x1000, 0xffff, &at(ports))?;
    let (vcpu, map): (cap::VCpu, cap::IOPermissionMap) = (env.make()?, env.make()?);
    vcpu.vcpu_set_io_permission_map(map)?;
    for _ in 0..20 {
        let copy = env.copy(ports, CapRights::all())?;
        vcpu.vcpu_enable_ioport(copy, 0x1000, 0xffff)?;
    }
    Ok(at(ports).revoke()?)
}
