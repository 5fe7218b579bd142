// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages to handlers that are being taken away: as in `race`, the device sends at a known instruction, which goes over the whole call. The
//! message comes before or never; the next owner of the interrupt's number never hears of it.

use kernel_tests::{Env, Outcome, check, check_eq, machine};
use sel4::cap;
use sel4_root_task::print;

use crate::lab::{IOVA, Lab, delete};
use crate::messages::handler;

kernel_tests::checks! {
    a_message_while_its_handler_is_deleted_comes_before_or_never,
    a_message_while_its_handler_is_blocked_comes_before_or_never,
}

/// Messages of a sweep.
const STEPS: u64 = 24;
/// Ticks before the call's start and after its end that belong to the sweep.
const EDGE: u64 = 100;
/// And when the number's next owner is there, or about to be.
const LATE: [u64; 4] = [3_000, 6_000, 12_000, 50_000];
const HANDLE: u64 = 200;
const NUMBER: u64 = 40;

/// Sweeps a message over `take`, which takes its handler's messages away. `next` gives the interrupt's number to somebody else, whose notification
/// it is.
fn sweep(
    env: &mut Env,
    take: impl Fn(cap::IrqHandler) -> Outcome,
    mut next: impl FnMut(&mut Env, &Lab) -> Outcome<Option<(cap::IrqHandler, cap::Notification)>>,
) -> Outcome {
    let lab = Lab::new(env)?;
    lab.mapped(env)?;
    lab.edu.set_message(HANDLE)?;
    let (first, _) = handler(env, lab.edu, HANDLE, NUMBER)?;
    let start = machine::rdtsc();
    take(first)?;
    let length = machine::rdtsc() - start;
    let _ = delete(first);
    let (mut came, mut never) = (0, 0);
    let within = (0..STEPS).map(|step| step * (length + 2 * EDGE) / STEPS);
    for after in within.chain(LATE.map(|late| length + late)) {
        let (own, told) = handler(env, lab.edu, HANDLE, NUMBER)?;
        let due = lab.edu.begin_write_and_tell(IOVA, 8);
        machine::pass_until(due + EDGE - after);
        take(own)?;
        let before = told.poll() != 0;
        let others = next(env, &lab)?;
        machine::pass_until(due + 20 * EDGE + length);
        lab.edu.acknowledge_transfer();
        lab.no_fault()?;
        check_eq!(
            told.poll(),
            0,
            format_args!("what the old owner is told later, {after} ticks after the start")
        );
        if let Some((handler, told)) = others {
            check_eq!(
                told.poll(),
                0,
                format_args!("what the next owner is told, {after} ticks after the start")
            );
            delete(handler)?;
        }
        let _ = delete(own);
        *(if before { &mut came } else { &mut never }) += 1;
    }
    print!("{length} ticks, {came} came, {never} didn't: ");
    check!(came > 0 && never > 0, "the sweep missed the call");
    Ok(())
}

fn a_message_while_its_handler_is_deleted_comes_before_or_never(env: &mut Env) -> Outcome {
    // The number goes to the other device.
    sweep(env, delete, |env, lab| handler(env, lab.other, HANDLE + 1, NUMBER).map(Some))
}

fn a_message_while_its_handler_is_blocked_comes_before_or_never(env: &mut Env) -> Outcome {
    sweep(env, |handler| Ok(handler.irq_handler_block()?), |_, _| Ok(None))
}
