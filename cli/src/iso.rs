// SPDX-License-Identifier: MIT OR Apache-2.0
//! A boot image as an ISO for GRUB (multiboot2), which boots from a USB stick too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::image::BootImage;

/// Writes an ISO with the kernel and the root task's image.
///
/// # Errors
/// A sentence, if a tool is missing or fails.
pub fn write(image: &BootImage, system: &str, iso: &Path) -> Result<(), String> {
    write_in(&image.kernel.with_file_name("iso"), image, system, iso)
}

/// [`write`] with the tree of the ISO's files laid out in `folder`.
///
/// # Errors
/// As there.
pub fn write_in(folder: &Path, image: &BootImage, system: &str, iso: &Path) -> Result<(), String> {
    let say = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let grub = folder.join("boot/grub");
    fs::create_dir_all(&grub).map_err(|error| say(&grub, error))?;
    let copy = |from: &PathBuf, name: &str| {
        fs::copy(from, folder.join("boot").join(name)).map_err(|error| say(from, error))
    };
    copy(&image.kernel, "kernel.elf")?;
    copy(&image.root_task, "root-task.elf")?;
    let config = grub.join("grub.cfg");
    fs::write(&config, grub_config(system)).map_err(|error| say(&config, error))?;

    let mut command = Command::new("grub-mkrescue");
    command.arg("-o").arg(iso).arg(folder).stdin(Stdio::null());
    let output = command.output().map_err(|error| {
        format!(
            "grub-mkrescue can't be started ({error}): install grub-pc-bin, grub-common, xorriso and mtools"
        )
    })?;
    if !output.status.success() {
        return Err(format!("grub-mkrescue failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(())
}

fn grub_config(system: &str) -> String {
    format!(
        "set timeout=0\nset default=0\nmenuentry \"Postern: {system}\" {{\n    multiboot2 /boot/kernel.elf\n    \
         module2 /boot/root-task.elf\n    boot\n}}\n"
    )
}
