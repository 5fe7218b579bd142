// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks, by object.

use kernel_tests::run::Check;

mod asid;
mod bootinfo;
mod cnode;
mod derivation;
mod domains;
mod endpoint;
mod fault;
mod fpu;
mod hostile;
mod io_port;
mod io_space;
mod irq;
mod notification;
mod passive;
mod sched;
mod tcb;
mod timeout;
mod transfer;
mod untyped;
mod vcpu;
mod vspace;

/// All of them.
pub const ALL: &[&[Check]] = &[
    bootinfo::CHECKS,
    untyped::CHECKS,
    cnode::CHECKS,
    derivation::CHECKS,
    // Early, so that all that follows runs on a kernel that has seen it.
    hostile::CHECKS,
    endpoint::CHECKS,
    transfer::CHECKS,
    notification::CHECKS,
    tcb::CHECKS,
    fault::CHECKS,
    sched::CHECKS,
    passive::CHECKS,
    timeout::CHECKS,
    fpu::CHECKS,
    vspace::CHECKS,
    asid::CHECKS,
    irq::CHECKS,
    io_port::CHECKS,
    io_space::CHECKS,
    vcpu::CHECKS,
];

/// Those for a kernel with several domains, of which the first one has all the time but in the checks of domains.
pub const WITH_DOMAINS: &[&[Check]] = &[
    domains::CHECKS,
    endpoint::CHECKS,
    notification::CHECKS,
    tcb::CHECKS,
    fault::CHECKS,
    sched::CHECKS,
    passive::CHECKS,
    timeout::CHECKS,
];
