// SPDX-License-Identifier: MIT OR Apache-2.0
//! DMA faults.

use kernel_tests::{Env, Outcome, check, check_eq, expect_error, expect_reply};
use sel4::abi::label;
use sel4::{CapRights, Error, cap};

use crate::lab::{Lab, reason};

kernel_tests::checks! {
    a_device_without_a_space_reaches_nothing,
    reads_and_writes_are_told_apart,
    lost_faults_are_told_once,
    a_fault_from_before_is_told,
    fault_control_needs_a_notification,
}

fn a_device_without_a_space_reaches_nothing(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    lab.expect_refusal(env, lab.paddr, reason::NO_CONTEXT)
}

fn reads_and_writes_are_told_apart(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    lab.edu.read_memory(env, lab.paddr, 64)?;
    check!(lab.fault(env)?.read, "a read was told as a write");
    lab.edu.write_memory(env, lab.paddr, 64)?;
    check!(!lab.fault(env)?.read, "a write was told as a read");
    Ok(())
}

fn lost_faults_are_told_once(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    // QEMU's unit has one record: the second device's fault is lost.
    lab.edu.read_memory(env, lab.paddr, 64)?;
    lab.other.read_memory(env, lab.paddr, 64)?;
    let first = lab.faults.dma_fault_read()?;
    check_eq!(first.requester, Some(lab.edu.requester()), "the requester that was recorded");
    check!(first.lost, "the loss was not told");
    let second = lab.faults.dma_fault_read()?;
    check_eq!((second.requester, second.lost), (None, false), "what is read then");
    lab.told.poll();
    // And recording goes on.
    lab.other.read_memory(env, lab.paddr, 64)?;
    let third = lab.fault(env)?;
    check_eq!((third.requester, third.lost), (Some(lab.other.requester()), false), "the next fault");
    Ok(())
}

fn a_fault_from_before_is_told(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    lab.edu.read_memory(env, lab.paddr, 64)?;
    env.wait_until(1_000_000, || lab.told.poll() == 1)?;
    let late: cap::Notification = env.make()?;
    let late = env.mint(late, CapRights::all(), 2)?;
    lab.faults.dma_fault_set_notification(late)?;
    check_eq!(late.poll(), 2, "the badge of the new notification");
    lab.faults.dma_fault_read()?;
    Ok(())
}

fn fault_control_needs_a_notification(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let endpoint: cap::Endpoint = env.make()?;
    let wrong = lab.faults.dma_fault_set_notification(cap::Notification::from_bits(endpoint.bits()));
    expect_error(wrong, Error::InvalidCapability, &[1])?;
    let weak = env.copy(lab.told, CapRights::read_only())?;
    expect_error(lab.faults.dma_fault_set_notification(weak), Error::InvalidCapability, &[1])?;
    let bare = lab.faults.invoke_raw(label::DMA_FAULT_SET_NOTIFICATION, &[], &[]);
    expect_reply(bare, Error::TruncatedMessage, &[])?;
    expect_reply(lab.faults.invoke_raw(1, &[], &[]), Error::IllegalOperation, &[])
}
