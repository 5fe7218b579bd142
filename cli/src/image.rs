// SPDX-License-Identifier: MIT OR Apache-2.0
//! Description in, boot image out: the kernel, and the root task with everything else in its bundle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use system_spec::bundle::{Kind, Writer};

use crate::elf::Elf;
use crate::report;
use crate::source::{Image, Source};
use crate::toolchain::{TARGET, Toolchain};
use crate::workspace::Workspace;

/// The kernel's package and program.
pub const KERNEL: (&str, &str) = ("postern-kernel", "kernel");
/// The root task's package.
pub const ROOT_TASK: &str = "root-task";
/// The parts that travel in the bundle, in the order in which they are started.
pub const PARTS: [&str; 5] = ["console-server", "timer-server", "iommu-server", "pci-server", "vmm-server"];

/// Choices of a build.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The kernel with its debug system calls and assertions.
    pub debug_kernel: bool,
    /// Where to put the image instead of `build/<system>`.
    pub output: Option<PathBuf>,
    /// A part, and the package whose program takes its place: for tests.
    pub instead: Option<(&'static str, &'static str)>,
    /// Features of parts, `part/feature`: for tests.
    pub features: Vec<&'static str>,
}

/// A finished boot image.
#[derive(Clone, Debug)]
pub struct BootImage {
    /// The kernel's ELF file.
    pub kernel: PathBuf,
    /// The root server image: the one module.
    pub root_task: PathBuf,
    /// What people read first.
    pub report: String,
}

/// Builds packages for the machine and gives the path of each one's program, in order.
///
/// # Errors
/// A sentence, if there is no toolchain or cargo fails (whose own output is on standard error).
pub fn build_packages(
    workspace: &Workspace,
    packages: &[(&str, &str)],
    features: &[&str],
) -> Result<Vec<PathBuf>, String> {
    let (mut command, target) = cargo(workspace, "build")?;
    for (package, program) in packages {
        command.args(["-p", package, "--bin", program]);
    }
    if !features.is_empty() {
        command.arg("--features").arg(features.join(","));
    }
    let status = command.status().map_err(|error| format!("cargo can't be started: {error}"))?;
    if !status.success() {
        return Err("the build failed".into());
    }
    let release = target.join(TARGET).join("release");
    let program = |name: &str| {
        let file = release.join(name);
        if file.is_file() { Ok(file) } else { Err(format!("cargo made no program `{name}`")) }
    };
    packages.iter().map(|(_, name)| program(name)).collect()
}

/// Runs clippy, with warnings denied, over everything that runs on the machine only, and over the kernel's program.
///
/// # Errors
/// A sentence, if there is no toolchain or clippy isn't content.
pub fn lint(workspace: &Workspace) -> Result<(), String> {
    let (mut command, _) = cargo(workspace, "clippy")?;
    for package in workspace.machine_packages().iter().map(String::as_str).chain([KERNEL.0]) {
        command.args(["-p", package]);
    }
    let status = command.args(["--", "-D", "warnings"]).status();
    let status = status.map_err(|error| format!("cargo can't be started: {error}"))?;
    if status.success() { Ok(()) } else { Err("clippy isn't content".into()) }
}

/// A cargo call for the machine, and its target folder.
fn cargo(workspace: &Workspace, verb: &str) -> Result<(Command, PathBuf), String> {
    let toolchain = Toolchain::find()?;
    static SAY: Once = Once::new();
    SAY.call_once(|| eprintln!("postern: using {}", toolchain.describe()));
    let folder = match toolchain {
        Toolchain::Installed => "image",
        Toolchain::Debian => "image-debian",
    };
    let base =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.root.join("target"), PathBuf::from);
    // A folder of its own: other flags than a plain `cargo build`'s would make both build everything anew in turn.
    let target = workspace.root.join(base).join(folder);
    Ok((toolchain.cargo(verb, workspace, &target), target))
}

/// Builds the boot image of a system and writes it, with its report, into its folder.
///
/// # Errors
/// A sentence that says which step failed.
pub fn build(workspace: &Workspace, source: &Source, options: &Options) -> Result<BootImage, String> {
    let system = source.description.system();
    let mut packages = vec![KERNEL, (ROOT_TASK, ROOT_TASK)];
    let program = |part| match options.instead {
        Some((replaced, package)) if replaced == part => (package, package),
        _ => (part, part),
    };
    packages.extend(PARTS.map(program));
    let mut features = options.features.clone();
    features.extend(options.debug_kernel.then_some("postern-kernel/debug-syscalls"));
    let programs = build_packages(workspace, &packages, &features)?;
    // Guests go by themselves: cargo joins the features of what it builds at once, and which guests there are must not
    // change a byte of the parts.
    let guests: Vec<_> = (source.images.iter())
        .filter_map(|(_, image)| match image {
            Image::Package(package) => Some((package.as_str(), package.as_str())),
            Image::File(_) => None,
        })
        .collect();
    let guests = if guests.is_empty() { Vec::new() } else { build_packages(workspace, &guests, &[])? };

    let mut writer = Writer::default();
    let mut lines = Vec::new();
    let description = source.description.compile().map_err(|error| format!("the description: {error}"))?;
    writer.add(Kind::Description, system.name, description)?;
    for (part, file) in PARTS.iter().zip(&programs[2..]) {
        let elf = shrunk(file)?;
        lines.push(report::Line::new(part, &elf));
        writer.add(Kind::Part, part, elf.into_bytes())?;
    }
    let mut built = guests.iter();
    for (name, image) in &source.images {
        let elf = match image {
            Image::Package(_) => shrunk(built.next().ok_or("an image is missing")?)?,
            Image::File(file) => read_elf(file)?,
        };
        lines.push(report::Line::new(name, &elf));
        writer.add(Kind::Guest, name, elf.into_bytes())?;
    }

    let mut root_task = read_elf(&programs[1])?;
    lines.insert(0, report::Line::new(ROOT_TASK, &root_task));
    lines.insert(0, report::Line::new("kernel", &read_elf(&programs[0])?));
    let bundle = writer.finish();
    root_task.append(&bundle)?;
    let image = root_task.into_bytes();
    let report = report::write(&system, &lines, bundle.len(), image.len());

    let folder = options.output.clone().unwrap_or_else(|| workspace.build_folder(system.name));
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        fs::write(&file, bytes).map(|()| file.clone()).map_err(|error| format!("{}: {error}", file.display()))
    };
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let kernel = read(&programs[0])?;
    Ok(BootImage {
        kernel: write("kernel.elf", &kernel)?,
        root_task: write("root-task.elf", &image)?,
        report: {
            write("report.txt", report.as_bytes())?;
            report
        },
    })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn read_elf(file: &Path) -> Result<Elf, String> {
    Elf::parse(read(file)?).map_err(|error| format!("{}: {error}", file.display()))
}

fn shrunk(file: &Path) -> Result<Elf, String> {
    let mut elf = read_elf(file)?;
    elf.shrink();
    Ok(elf)
}
