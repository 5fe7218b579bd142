// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds what the tests boot, in the way the tool does.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use postern_cli::image::{self, BootImage, KERNEL};
use postern_cli::qemu;
use postern_cli::source::Source;
use postern_cli::workspace::Workspace;

/// Builds run one at a time: they share cargo's folder.
static BUILDING: Mutex<()> = Mutex::new(());

/// A system that is ready to boot.
pub struct System {
    /// Kernel and module.
    pub image: BootImage,
    /// The machine that its `.qemu` file describes.
    pub machine: qemu::Machine,
    /// The host's port that leads to the guest's port 80.
    pub port: u16,
}

impl System {
    /// QEMU's arguments that boot it.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = self.machine.arguments();
        arguments.extend(qemu::boot_arguments(&self.image));
        arguments
    }

    /// QEMU's arguments that start `tests/preloader` with the command line `plan` (and what its README says of it), which then
    /// boots the system.
    ///
    /// # Errors
    /// A sentence, if the pre-loader can't be built.
    pub fn preloaded_arguments(&self, plan: &str) -> Result<Vec<String>, String> {
        let preloader = program("preloader")?;
        let mut arguments = self.machine.arguments();
        let path = |path: &Path| path.display().to_string();
        arguments.extend(["-kernel".into(), path(&preloader), "-initrd".into(), path(&self.image.root_task)]);
        arguments.extend(["-append".into(), format!("kernel={KERNEL_FILE:#x} {plan}")]);
        let kernel = path(&self.image.kernel);
        let loader = format!("loader,file={kernel},addr={KERNEL_FILE:#x},force-raw=on");
        arguments.extend(["-device".into(), loader]);
        Ok(arguments)
    }
}

/// Where the pre-loader finds the kernel's file: RAM that nothing else uses so early.
const KERNEL_FILE: u64 = 0x400_0000;

/// The workspace that this program was built from.
///
/// # Errors
/// A sentence, if it is gone.
pub fn workspace() -> Result<Workspace, String> {
    Workspace::find(Path::new(env!("CARGO_MANIFEST_DIR")))
}

/// Builds a system: `NAME` for `tests/systems/NAME.toml`, or a path from the workspace's folder.
///
/// # Errors
/// A sentence that says which step failed.
pub fn system(name: &str) -> Result<System, String> {
    system_with(name, None)
}

/// [`system`] with another package's program in the place of a part, `(part, package)`.
///
/// # Errors
/// As [`system`].
pub fn system_with(name: &str, instead: Option<(&'static str, &'static str)>) -> Result<System, String> {
    system_of(name, image::Options { instead, ..Default::default() })
}

/// [`system`] with features of parts, `part/feature`, that only tests want.
///
/// # Errors
/// As [`system`].
pub fn system_with_features(name: &str, features: &[&'static str]) -> Result<System, String> {
    system_of(name, image::Options { features: features.to_vec(), ..Default::default() })
}

fn system_of(name: &str, options: image::Options) -> Result<System, String> {
    let workspace = workspace()?;
    let file = if name.ends_with(".toml") {
        workspace.root.join(name)
    } else {
        workspace.root.join("tests/systems").join(name).with_extension("toml")
    };
    let source = Source::read(&workspace, &file)?;
    let stem = file.file_stem().unwrap_or_default();
    // Apart from what a person has built under the same name.
    let options = image::Options { output: Some(workspace.root.join("build/tests").join(stem)), ..options };
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let image = image::build(&workspace, &source, &options)?;
    let port = free_port()?;
    Ok(System { image, machine: qemu::Machine::read(&source.qemu_file(), port)?, port })
}

/// Builds the kernel and another program, `(package, program)`, as the root task; no bundle.
///
/// # Errors
/// A sentence that says which step failed.
pub fn bare(root_task: (&str, &str), features: &[&str]) -> Result<BootImage, String> {
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let programs = image::build_packages(&workspace()?, &[KERNEL, root_task], features)?;
    let [kernel, root_task]: [PathBuf; 2] = programs.try_into().map_err(|_| "two programs were asked for")?;
    Ok(BootImage { kernel, root_task, report: String::new() })
}

/// Builds one package for the machine; gives its program, with symbols.
///
/// # Errors
/// A sentence, if it can't be built.
pub fn program(package: &str) -> Result<PathBuf, String> {
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let programs = image::build_packages(&workspace()?, &[(package, package)], &[])?;
    programs.into_iter().next().ok_or_else(|| format!("no program `{package}`"))
}

/// A port of this host that nobody listens on now.
///
/// # Errors
/// A sentence.
pub fn free_port() -> Result<u16, String> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no port: {error}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|error| format!("no port: {error}"))
}
