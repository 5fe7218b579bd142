// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a check failed.

use core::fmt;
use core::panic::Location;

use sel4::{Error, MessageInfo, Word};

/// Result of a check.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a check failed, or why it could not be made.
#[derive(Debug)]
pub struct Failure {
    text: heapless::String<96>,
    place: Option<&'static Location<'static>>,
    skipped: bool,
}

impl Failure {
    /// A failure at the caller's line. Text beyond 96 bytes is cut.
    #[track_caller]
    pub fn new(arguments: fmt::Arguments) -> Self {
        let mut text = Text(heapless::String::new());
        let _ = fmt::write(&mut text, arguments);
        Self { text: text.0, place: Some(Location::caller()), skipped: false }
    }

    /// The machine lacks what the check needs.
    pub fn skip(why: &str) -> Self {
        let mut text = heapless::String::new();
        let _ = text.push_str(why);
        Self { text, place: None, skipped: true }
    }

    /// The check could not be made.
    pub fn is_skip(&self) -> bool {
        self.skipped
    }
}

/// Takes what fits.
struct Text(heapless::String<96>);

impl fmt::Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        s.chars().try_for_each(|c| self.0.push(c)).map_err(|()| fmt::Error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.place {
            Some(place) => {
                let file = place.file().rsplit('/').next().unwrap_or_default();
                write!(f, " ({file}:{})", place.line())
            }
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        let words = sel4::with_ipc_buffer(|buffer| {
            [buffer.msg_regs()[0], buffer.msg_regs()[1], buffer.msg_regs()[2]]
        });
        Self::new(format_args!("{error:?} {words:x?}"))
    }
}

/// Fails the check unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($arg:tt)+) => {
        if !$condition {
            return Err($crate::Failure::new(format_args!($($arg)+)));
        }
    };
}

/// Fails the check unless both are equal; the third says what they are.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr, $what:expr) => {{
        let (left, right) = ($left, $right);
        if left != right {
            return Err($crate::Failure::new(format_args!("{} is {left:x?}, not {right:x?}", $what)));
        }
    }};
}

/// Fails the check unless the invocation failed with this error and these first words.
#[track_caller]
pub fn expect_error<T>(result: sel4::Result<T>, error: Error, words: &[Word]) -> Outcome {
    match result {
        Ok(_) => Err(Failure::new(format_args!("succeeded instead of {error:?}"))),
        Err(found) => sel4::with_ipc_buffer(|buffer| {
            let got = &buffer.msg_regs()[..words.len()];
            if found == error && got == words {
                Ok(())
            } else {
                Err(Failure::new(format_args!("{found:?} {got:x?} instead of {error:?} {words:x?}")))
            }
        }),
    }
}

/// Fails the check unless the reply of a raw invocation is this error with these first words.
#[track_caller]
pub fn expect_reply(reply: (MessageInfo, [Word; 4]), error: Error, words: &[Word]) -> Outcome {
    let result = match Error::from_code(reply.0.label()) {
        None => Ok(()),
        Some(error) => Err(error),
    };
    expect_error(result, error, words)
}
