// SPDX-License-Identifier: MIT OR Apache-2.0
//! `postern`, the host-side tool: the command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use postern_cli::source::Source;
use postern_cli::workspace::Workspace;
use postern_cli::{fetch, image, inspect, iso, qemu, run};

/// Builds and runs systems of unikernels, each in a virtual machine with the PCI devices that its description grants.
#[derive(Parser)]
#[command(name = "postern", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Judge a description; nothing is built.
    Check {
        /// The description, for example systems/web.toml.
        description: PathBuf,
    },
    /// Build a description's boot image and say what is in it.
    Build(Build),
    /// Build a description's boot image and write it as an ISO for GRUB, for a USB stick.
    Iso {
        #[command(flatten)]
        build: Build,
        /// The ISO file.
        #[arg(short, long, default_value = "postern.iso")]
        iso: PathBuf,
    },
    /// Run clippy over everything that runs on the machine.
    #[command(hide = true)]
    Clippy,
    /// Ask a running machine what it looks like inside, and print the answer as JSON.
    Inspect(Inspect),
    /// Build a description's boot image and run it in QEMU with VT-d; Ctrl-C ends it.
    Run(Run),
}

#[derive(Args)]
struct Build {
    /// The description, for example systems/web.toml.
    description: PathBuf,
    /// Build the kernel with debug system calls and assertions.
    #[arg(long)]
    debug_kernel: bool,
    /// Folder for the image instead of build/<system>.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    build: Build,
    /// End by itself after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Memory of the machine, for example 2G.
    #[arg(long)]
    memory: Option<String>,
    /// Write the lines of each guest and part to a file of its own in this folder.
    #[arg(long, value_name = "FOLDER")]
    log_dir: Option<PathBuf>,
    /// Port of this host that leads to the guest's port 80.
    #[arg(long, default_value_t = qemu::DEFAULT_PORT)]
    port: u16,
    /// Fetch / once as soon as a guest listens, if the machine leads a port to it; the exit status says whether it was
    /// served.
    #[arg(long)]
    fetch: bool,
    /// Wait for gdb on port 1234 before the first instruction.
    #[arg(long)]
    gdb: bool,
    /// One more argument for QEMU; may be repeated.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    qemu_arg: Vec<String>,
}

#[derive(Args)]
struct Inspect {
    /// The description that `postern run` runs, for example systems/web.toml; or the console itself: a socket, or the serial
    /// device of a real machine; or a log of COM1, for `snapshot`.
    machine: PathBuf,
    /// The command: `devices`, `vms`, `exits VM`, `registers VM`, `memory VM`, `caps [PART]`; `help` lists them. Of a log: `snapshot`, the
    /// capability graph that a debug kernel has printed.
    #[arg(required = true)]
    command: Vec<String>,
    /// Wait so many seconds for an answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("postern: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<ExitCode, String> {
    match command {
        Command::Check { description } => {
            let source = open(&description)?.1;
            let system = source.description.system();
            let devices: usize = system.vms.iter().map(|vm| vm.devices.len()).sum();
            println!("{}: {} VMs, {devices} devices, no errors", description.display(), system.vms.len());
        }
        Command::Build(build) => {
            let (_, image) = make(&build)?;
            print!("{}", image.report);
            println!("\nkernel: {}\nmodule: {}", image.kernel.display(), image.root_task.display());
        }
        Command::Iso { build, iso: file } => {
            let (source, image) = make(&build)?;
            iso::write(&image, source.description.system().name, &file)?;
            println!("{}: boots on BIOS machines; write it to a USB stick as it is", file.display());
        }
        Command::Clippy => {
            let here = std::env::current_dir().map_err(|error| format!("the current folder: {error}"))?;
            image::lint(&Workspace::find(&here)?)?;
        }
        Command::Inspect(inspect) => look(&inspect)?,
        Command::Run(run) => return start(&run),
    }
    Ok(ExitCode::SUCCESS)
}

fn open(description: &std::path::Path) -> Result<(Workspace, Source), String> {
    let here = std::env::current_dir().map_err(|error| format!("the current folder: {error}"))?;
    let workspace = Workspace::find(&here)?;
    let source = Source::read(&workspace, description)?;
    Ok((workspace, source))
}

fn make(build: &Build) -> Result<(Source, image::BootImage), String> {
    let (workspace, source) = open(&build.description)?;
    let options = image::Options {
        debug_kernel: build.debug_kernel,
        output: build.output.clone(),
        ..Default::default()
    };
    let image = image::build(&workspace, &source, &options)?;
    Ok((source, image))
}

/// The console's socket of a system whose image lies in this folder.
fn console_in(folder: &Path) -> PathBuf {
    folder.join("console")
}

fn look(options: &Inspect) -> Result<(), String> {
    let Inspect { machine, command, timeout } = options;
    let is_snapshot = *command == ["snapshot"];
    if is_snapshot && machine.exists() && !machine.is_file() {
        return Err(format!(
            "{}: `snapshot` is read out of a log of COM1, which is a file",
            machine.display()
        ));
    }
    if is_snapshot || machine.is_file() && machine.extension().is_none_or(|extension| extension != "toml") {
        if !is_snapshot {
            let file = machine.display();
            return Err(format!("{file} is a file: `snapshot` is all that can be read out of a log"));
        }
        let objects = inspect::from_log(machine)?;
        println!("{}", inspect::array(&objects));
        return Ok(());
    }
    let console = if machine.extension().is_some_and(|extension| extension == "toml") {
        let (workspace, source) = open(machine)?;
        console_in(&workspace.build_folder(source.description.system().name))
    } else {
        machine.clone()
    };
    let objects = inspect::ask(&console, &command.join(" "), Duration::from_secs(*timeout))?;
    println!("{}", inspect::array(&objects));
    Ok(())
}

fn start(options: &Run) -> Result<ExitCode, String> {
    // Said before anything is built: a build takes minutes.
    let file = options.build.description.with_extension("qemu");
    let forwards = std::fs::read_to_string(&file).is_ok_and(|text| text.contains("${PORT}"));
    if forwards && fetch::port_in_use(options.port) {
        return Err(format!("port {} is in use: choose another with PORT= or --port", options.port));
    }
    let (source, image) = make(&options.build)?;
    let mut machine = qemu::Machine::read(&source.qemu_file(), options.port)?;
    if let Some(memory) = &options.memory {
        machine.memory.clone_from(memory);
    }
    let mut arguments = machine.arguments();
    arguments.extend(qemu::boot_arguments(&image));
    if options.gdb {
        eprintln!("postern: waiting for gdb; `target remote :1234`, symbols in {}", image.kernel.display());
        arguments.extend(["-s".into(), "-S".into()]);
    }
    arguments.extend(options.qemu_arg.iter().cloned());
    let outcome = run::run(
        &arguments,
        &run::Options {
            timeout: options.timeout.map(Duration::from_secs),
            log_folder: options.log_dir.clone(),
            console: image.kernel.parent().map(console_in),
            // A machine that leads no port to its guests has no page to fetch.
            fetch: (options.fetch && forwards).then_some(options.port),
        },
    )?;
    if outcome.failed {
        return Err("QEMU ended with an error".into());
    }
    Ok(match outcome.served {
        Some(false) => {
            eprintln!("postern: the page was not served");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    })
}
