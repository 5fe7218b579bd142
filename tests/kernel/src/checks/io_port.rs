// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O ports.

use kernel_tests::env::at;
use kernel_tests::{Env, Outcome, check, check_eq, expect_error};
use sel4::init_thread::slot;
use sel4::{CapRights, Error, cap_type};

kernel_tests::checks! {
    port_range_is_issued_once,
    port_range_must_not_be_empty,
    port_access_stays_in_its_range,
    port_access_reaches_the_device,
    deleted_port_range_can_be_issued_again,
}

fn port_range_is_issued_once(env: &mut Env) -> Outcome {
    let control = slot::IO_PORT_CONTROL.cap();
    let (a, b) = (env.empty::<cap_type::IOPort>()?, env.empty::<cap_type::IOPort>()?);
    control.ioport_control_issue(0x1000, 0x100f, &at(a))?;
    for (first, last) in
        [(0x1000, 0x100f), (0x100f, 0x1020), (0xff0, 0x1000), (0x1004, 0x1004), (0x3f8, 0x3f8)]
    {
        expect_error(control.ioport_control_issue(first, last, &at(b)), Error::RevokeFirst, &[])?;
    }
    // Copies are no new issue.
    at(b).copy(&at(a), CapRights::all())?;
    Ok(())
}

fn port_range_must_not_be_empty(env: &mut Env) -> Outcome {
    let control = slot::IO_PORT_CONTROL.cap();
    let a = env.empty::<cap_type::IOPort>()?;
    expect_error(control.ioport_control_issue(0x1001, 0x1000, &at(a)), Error::InvalidArgument, &[1])?;
    let taken = at(slot::TCB.cap());
    expect_error(control.ioport_control_issue(0x1000, 0x1000, &taken), Error::DeleteFirst, &[])?;
    control.ioport_control_issue(0x1000, 0x1000, &at(a))?;
    Ok(())
}

fn port_access_stays_in_its_range(env: &mut Env) -> Outcome {
    let ports = env.empty::<cap_type::IOPort>()?;
    slot::IO_PORT_CONTROL.cap().ioport_control_issue(0x1000, 0x1003, &at(ports))?;
    ports.ioport_in8(0x1003)?;
    ports.ioport_in32(0x1000)?;
    for (port, result) in [
        (0x0fff, ports.ioport_in8(0x0fff).map(drop)),
        (0x1004, ports.ioport_in8(0x1004).map(drop)),
        (0x1003, ports.ioport_in16(0x1003).map(drop)),
        (0x1001, ports.ioport_in32(0x1001).map(drop)),
        (0x1004, ports.ioport_out8(0x1004, 0)),
        (0x1003, ports.ioport_out16(0x1003, 0)),
        (0x1001, ports.ioport_out32(0x1001, 0)),
        (0x3f8, ports.ioport_out8(0x3f8, b'!')),
    ] {
        check!(result == Err(Error::IllegalOperation), "access to {port:#x}: {result:?}");
    }
    Ok(())
}

fn port_access_reaches_the_device(env: &mut Env) -> Outcome {
    // Configuration mechanism 1: the host bridge's identification.
    let ports = env.empty::<cap_type::IOPort>()?;
    slot::IO_PORT_CONTROL.cap().ioport_control_issue(0xcf8, 0xcff, &at(ports))?;
    ports.ioport_out32(0xcf8, 0x8000_0000)?;
    check_eq!(ports.ioport_in32(0xcf8)?, 0x8000_0000, "address register");
    let whole = ports.ioport_in32(0xcfc)?;
    check!(whole != u32::MAX && whole != 0, "identification {whole:#x}");
    check_eq!(u32::from(ports.ioport_in16(0xcfe)?), whole >> 16, "its upper half");
    check_eq!(u32::from(ports.ioport_in8(0xcfd)?), whole >> 8 & 0xff, "its second byte");
    Ok(())
}

fn deleted_port_range_can_be_issued_again(env: &mut Env) -> Outcome {
    let control = slot::IO_PORT_CONTROL.cap();
    let (a, b) = (env.empty::<cap_type::IOPort>()?, env.empty::<cap_type::IOPort>()?);
    control.ioport_control_issue(0x2000, 0x20ff, &at(a))?;
    at(b).copy(&at(a), CapRights::all())?;
    at(a).delete()?;
    expect_error(control.ioport_control_issue(0x2000, 0x20ff, &at(a)), Error::RevokeFirst, &[])?;
    at(b).delete()?;
    control.ioport_control_issue(0x2000, 0x20ff, &at(a))?;
    Ok(())
}
