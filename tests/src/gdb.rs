// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's gdb stub (GDB Remote Serial Protocol), as far as stopping at an address needs it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A stopped machine.
pub struct Debugger {
    stream: UnixStream,
}

impl Debugger {
    /// Wraps the stream that QEMU has connected. The machine must have been started stopped (`-S`).
    ///
    /// # Errors
    /// The operating system's.
    pub fn new(stream: UnixStream, limit: Duration) -> Result<Self, String> {
        stream.set_read_timeout(Some(limit)).map_err(|error| format!("gdb stub: {error}"))?;
        Ok(Self { stream })
    }

    /// Lets the machine run until it is about to execute the instruction at a virtual address.
    ///
    /// # Errors
    /// A sentence; also if it doesn't get there within the limit.
    pub fn run_to(&mut self, address: u64) -> Result<(), String> {
        self.expect(&format!("Z1,{address:x},1"), "OK")?;
        self.expect("c", "T05")?;
        self.expect(&format!("z1,{address:x},1"), "OK")
    }

    fn expect(&mut self, command: &str, wanted: &str) -> Result<(), String> {
        let packet = format!("${command}#{:02x}", checksum(command.as_bytes()));
        let say = |error: std::io::Error| format!("gdb stub: {command}: {error}");
        self.stream.write_all(packet.as_bytes()).map_err(say)?;
        let answer = self.read().map_err(say)?;
        if answer.starts_with(wanted) { Ok(()) } else { Err(format!("gdb stub: {command}: {answer}")) }
    }

    /// The next packet's text; acknowledgements before it are skipped.
    fn read(&mut self) -> std::io::Result<String> {
        let mut byte = || -> std::io::Result<u8> {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            Ok(byte[0])
        };
        while byte()? != b'$' {}
        let mut text = String::new();
        loop {
            match byte()? {
                b'#' => break,
                other => text.push(char::from(other)),
            }
        }
        byte()?;
        byte()?;
        self.stream.write_all(b"+")?;
        Ok(text)
    }
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_to_an_address() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"+$OK#9a+$T05thread:01;#07+$OK#9a").unwrap();
        let mut debugger = Debugger::new(ours, Duration::from_secs(5)).unwrap();
        debugger.run_to(0x10_1004).unwrap();
        drop(debugger);
        let mut sent = String::new();
        theirs.read_to_string(&mut sent).unwrap();
        assert_eq!(sent, "$Z1,101004,1#3a+$c#63+$z1,101004,1#5a+");
    }
}
