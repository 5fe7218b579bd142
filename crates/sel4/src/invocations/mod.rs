// SPDX-License-Identifier: MIT OR Apache-2.0
//! Invocations: a method for each, on the type of capability that is invoked.
//!
//! The order of arguments is that of the ABI, but that a destination slot comes last.

mod asid;
mod cnode;
mod dma_fault;
mod domain;
mod ept;
mod io_port;
mod io_space;
mod irq;
mod sched;
mod tcb;
mod untyped;
mod vcpu;
mod vspace;

pub use dma_fault::DmaFaultRecord;
pub use tcb::CopyRegisters;

use crate::{
    CPtrBits, Cap, CapType, InvocationContext, IpcBuffer, MessageInfo, NUM_MESSAGE_REGISTERS, Result, Word,
    error, sys,
};

/// The first words of a reply.
type Reply = [Word; NUM_MESSAGE_REGISTERS];

impl<T: CapType, C: InvocationContext> Cap<T, C> {
    /// Invokes the capability: label, message words, extra capabilities. The buffer is touched only for what doesn't fit
    /// into registers; all of it is decided at compile time.
    #[inline(always)]
    pub(crate) fn invoke<const W: usize, const X: usize>(
        self,
        label: Word,
        words: [Word; W],
        extra: [CPtrBits; X],
    ) -> Result<Reply> {
        let info = MessageInfo::new(label, 0, X, W).into_word();
        let mut mrs = [0; NUM_MESSAGE_REGISTERS];
        let in_registers = if W < NUM_MESSAGE_REGISTERS { W } else { NUM_MESSAGE_REGISTERS };
        mrs[..in_registers].copy_from_slice(&words[..in_registers]);
        let (cptr, mut context) = self.into_parts();
        let out = if X == 0 && W <= NUM_MESSAGE_REGISTERS {
            sys::call(cptr.bits(), info, mrs)
        } else {
            context.with_context(|buffer| {
                buffer.caps_or_badges_mut()[..X].copy_from_slice(&extra);
                if W > NUM_MESSAGE_REGISTERS {
                    buffer.msg_regs_mut()[NUM_MESSAGE_REGISTERS..W]
                        .copy_from_slice(&words[NUM_MESSAGE_REGISTERS..]);
                }
                sys::call_with_buffer(cptr.bits(), info, mrs, buffer)
            })
        };
        match error::check(MessageInfo::from_word(out.info)) {
            Ok(()) => Ok(out.mrs),
            Err(error) => {
                keep_error_words(&mut context, out.mrs);
                Err(error)
            }
        }
    }

    /// Invokes a capability whose reply is longer than the registers: `N` words.
    pub(crate) fn invoke_for_words<const W: usize, const N: usize>(
        self,
        label: Word,
        words: [Word; W],
    ) -> Result<[Word; N]> {
        const { assert!(W <= NUM_MESSAGE_REGISTERS && N >= NUM_MESSAGE_REGISTERS) };
        let info = MessageInfo::new(label, 0, 0, W).into_word();
        let mut mrs = [0; NUM_MESSAGE_REGISTERS];
        mrs[..W].copy_from_slice(&words);
        let (cptr, mut context) = self.into_parts();
        context.with_context(|buffer: &mut IpcBuffer| {
            let out = sys::call_with_buffer(cptr.bits(), info, mrs, buffer);
            buffer.msg_regs_mut()[..NUM_MESSAGE_REGISTERS].copy_from_slice(&out.mrs);
            error::check(MessageInfo::from_word(out.info))?;
            let mut result = [0; N];
            result.copy_from_slice(&buffer.msg_regs()[..N]);
            Ok(result)
        })
    }

    /// Invokes with any label, words and capabilities, and gives back the reply as it is. For programs that test the
    /// kernel; more words or capabilities than a message holds are left out.
    pub fn invoke_raw(
        self,
        label: Word,
        words: &[Word],
        extra: &[CPtrBits],
    ) -> (MessageInfo, [Word; NUM_MESSAGE_REGISTERS]) {
        let (cptr, mut context) = self.into_parts();
        context.with_context(|buffer| {
            let length = words.len().min(buffer.msg_regs().len());
            let caps = extra.len().min(buffer.caps_or_badges().len());
            buffer.msg_regs_mut()[..length].copy_from_slice(&words[..length]);
            buffer.caps_or_badges_mut()[..caps].copy_from_slice(&extra[..caps]);
            let mut mrs = [0; NUM_MESSAGE_REGISTERS];
            let in_registers = length.min(NUM_MESSAGE_REGISTERS);
            mrs[..in_registers].copy_from_slice(&words[..in_registers]);
            let info = MessageInfo::new(label, 0, caps, length).into_word();
            let out = sys::call_with_buffer(cptr.bits(), info, mrs, buffer);
            buffer.msg_regs_mut()[..NUM_MESSAGE_REGISTERS].copy_from_slice(&out.mrs);
            (MessageInfo::from_word(out.info), out.mrs)
        })
    }
}

/// Puts an error's details where they can be looked at: behind them, `msg_regs()[..5]`.
#[cold]
#[inline(never)]
fn keep_error_words<C: InvocationContext>(context: &mut C, mrs: Reply) {
    context.try_with_context(|buffer| {
        buffer.msg_regs_mut()[..NUM_MESSAGE_REGISTERS].copy_from_slice(&mrs);
    });
}
