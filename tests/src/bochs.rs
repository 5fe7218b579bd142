// SPDX-License-Identifier: MIT OR Apache-2.0
//! A running Bochs, the emulator with Intel's processors and with more of SVM than QEMU: boots an image from its ISO, its log on COM1 as
//! lines to wait for. Time in it is a count of instructions.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postern_cli::image::BootImage;
use postern_cli::iso;

use crate::transcript::Transcript;

/// Bochs's program; Debian's `bochs` is a script around it.
const PROGRAM: &str = "bochs-bin";
/// Instructions in a second of the machine's time.
const INSTRUCTIONS_PER_SECOND: u32 = 200_000_000;

/// A machine that runs until it is dropped.
pub struct Bochs {
    child: Child,
    /// Lines on COM1, behind what Bochs itself says before it starts.
    pub serial: Transcript,
    /// Its files: the ISO, its settings, its own log.
    folder: PathBuf,
}

impl Bochs {
    /// Boots an image from an ISO on one of Bochs's processors (`bochs -help cpu` lists them).
    ///
    /// # Errors
    /// A sentence, if the ISO can't be made or Bochs can't be started.
    pub fn start(processor: &str, image: &BootImage) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("postern-{}-{number}.bochs", std::process::id()));
        let started = Self::start_in(&folder, processor, image);
        if started.is_err() {
            let _ = fs::remove_dir_all(&folder);
        }
        started
    }

    fn start_in(folder: &Path, processor: &str, image: &BootImage) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
        };
        iso::write_in(&folder.join("tree"), image, "kernel-tests", &folder.join("boot.iso"))?;
        write("settings", &settings(folder, processor))?;
        // Debian's has its debugger built in, which waits to be told.
        write("debugger", "continue\n")?;
        let mut command = Command::new(PROGRAM);
        command.args(["-q", "-f", "settings", "-rc", "debugger"]).current_dir(folder);
        // The display is a terminal, of the kind that can do nothing.
        command.env("TERM", "dumb").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{PROGRAM}: {error}"))?;
        let serial = child.stderr.take().map(Transcript::of).ok_or("Bochs has no output")?;
        Ok(Self { child, serial, folder: folder.to_owned() })
    }

    /// Waits until Bochs has ended by itself.
    ///
    /// # Errors
    /// A sentence, if it runs on.
    pub fn wait_end(&mut self, limit: Duration) -> Result<(), String> {
        self.serial.wait_end(limit).map_err(|why| format!("the machine runs on: {why}"))?;
        self.child.wait().map(drop).map_err(|error| format!("Bochs: {error}"))
    }

    /// What Bochs and the machine said: what a failed test shows.
    #[must_use]
    pub fn evidence(&self) -> String {
        let own = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let mut out = String::from("--- Bochs's log\n");
        let lines: Vec<_> = own.lines().filter(|line| !line.contains("PLUGIN")).collect();
        for line in &lines[lines.len().saturating_sub(80)..] {
            let _ = writeln!(out, "{line}");
        }
        out.push_str("--- COM1\n");
        for line in self.serial.lines() {
            let _ = writeln!(out, "{line}");
        }
        out
    }
}

/// Bochs's settings: an unknown register, a triple fault and whatever else it is unsure of end the machine.
fn settings(folder: &Path, processor: &str) -> String {
    let folder = folder.display();
    format!(
        "display_library: term\n\
         cpu: model={processor}, count=1, ips={INSTRUCTIONS_PER_SECOND}, reset_on_triple_fault=0, ignore_bad_msrs=0\n\
         memory: guest=256, host=256\n\
         romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot\n\
         vgaromimage: file=/usr/share/vgabios/vgabios.bin\n\
         ata0-master: type=cdrom, path=\"{folder}/boot.iso\", status=inserted\n\
         boot: cdrom\n\
         com1: enabled=1, mode=file, dev=/dev/stderr\n\
         clock: sync=none, time0=1\n\
         sound: driver=dummy\n\
         port_e9_hack: enabled=1\n\
         log: \"{folder}/log\"\n\
         panic: action=fatal\n\
         error: action=report\n\
         info: action=report\n"
    )
}

impl Drop for Bochs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
