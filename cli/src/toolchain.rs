// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which Rust toolchain builds what runs on the machine, and how cargo is called for it.
//!
//! Two ways are open: a toolchain that has the target `x86_64-unknown-none` (rustup's, after `rustup target add`), or
//! Debian's packages `rustc-web`, `cargo-web`, `rust-web-src` and `lld-19`, with which cargo builds `core` and `alloc`
//! itself. `POSTERN_TOOLCHAIN=rustup` or `=debian` forces one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::workspace::Workspace;

/// The target of everything that runs on the machine.
pub const TARGET: &str = "x86_64-unknown-none";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/core";
const DEBIAN_LINKER: &str = "/usr/bin/ld.lld-19";
/// How long downloading the target may take before the other way is tried.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(60);

/// A way to build for [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The cargo on the path has the target.
    Installed,
    /// Debian's packages; `core` and `alloc` are built with the project.
    Debian,
}

impl Toolchain {
    /// Finds the way that is open here.
    ///
    /// # Errors
    /// A sentence that says what to install.
    pub fn find() -> Result<Self, String> {
        match std::env::var("POSTERN_TOOLCHAIN").as_deref() {
            Ok("rustup") if has_target() || add_target() => Ok(Self::Installed),
            Ok("rustup") => {
                Err(format!("POSTERN_TOOLCHAIN=rustup, but the target {TARGET} isn't there and can't be had"))
            }
            Ok("debian") if debian_complete() => Ok(Self::Debian),
            Ok("debian") => Err(format!("POSTERN_TOOLCHAIN=debian, but: {INSTALL}")),
            Ok(other) if !other.is_empty() => {
                Err(format!("POSTERN_TOOLCHAIN can be `rustup` or `debian`, not `{other}`"))
            }
            _ if has_target() => Ok(Self::Installed),
            // Debian's packages need no download, so they go first.
            _ if debian_complete() => Ok(Self::Debian),
            _ if add_target() => Ok(Self::Installed),
            _ => Err(format!("no Rust toolchain for {TARGET}: {INSTALL}")),
        }
    }

    /// One line for people.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Installed => format!("the installed {}, which has {TARGET}", version("rustc")),
            Self::Debian => format!("Debian's {}, building core and alloc as well", version(DEBIAN_RUSTC)),
        }
    }

    /// A cargo call (`build`, `clippy`) for [`TARGET`] in a way that the workspace's and cargo's folders leave no trace in the
    /// output.
    #[must_use]
    pub fn cargo(self, verb: &str, workspace: &Workspace, target_folder: &Path) -> Command {
        let mut command = Command::new(self.cargo_program());
        command.current_dir(&workspace.root).env("CARGO_TARGET_DIR", target_folder);
        // Flags from the environment would replace those of .cargo/config.toml; `--config` adds to them.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        if self == Self::Debian {
            command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
            // Set by rustup for its own programs, which these are not.
            command.env_remove("RUSTUP_TOOLCHAIN").env_remove("LD_LIBRARY_PATH");
            command.env("CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER", DEBIAN_LINKER);
        }
        command.args([verb, "--release", "--target", TARGET]);
        if self == Self::Debian {
            command.args(["-Zbuild-std=core,alloc", "-Zbuild-std-features=compiler-builtins-mem"]);
        }
        let remap = [
            (target_folder.to_owned(), "/postern/target"),
            (workspace.root.clone(), "/postern"),
            (cargo_home(), "/cargo"),
        ];
        let flags: Vec<_> = (remap.iter())
            .flat_map(|(from, to)| ["--remap-path-prefix".to_owned(), format!("{}={to}", from.display())])
            .map(|flag| format!("'{flag}'"))
            .collect();
        command.arg("--config").arg(format!("target.{TARGET}.rustflags=[{}]", flags.join(",")));
        command
    }

    fn cargo_program(self) -> PathBuf {
        match self {
            // Inside `cargo run` this is the cargo that runs us.
            Self::Installed => std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from),
            Self::Debian => DEBIAN_CARGO.into(),
        }
    }
}

const INSTALL: &str = "install Debian's packages rustc-web, cargo-web, rust-web-src and lld-19, \
                       or rustup with `rustup target add x86_64-unknown-none`";

fn cargo_home() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).unwrap_or_else(|| "/nonexistent".into())
}

fn rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)
}

/// Whether the compiler on the path has a library for [`TARGET`].
fn has_target() -> bool {
    let output = Command::new(rustc()).args(["--print", "target-libdir", "--target", TARGET]).output();
    output.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && Path::new(&folder).is_dir()
    })
}

fn debian_complete() -> bool {
    [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_LINKER].iter().all(|file| Path::new(file).is_file())
        && Path::new(DEBIAN_SOURCE).is_dir()
}

/// Lets rustup fetch the target, for [`DOWNLOAD_LIMIT`] at most: without a network it can hang.
fn add_target() -> bool {
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    eprintln!("postern: fetching the target {TARGET} with rustup");
    let deadline = Instant::now() + DOWNLOAD_LIMIT;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return status.success() && has_target();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split(" (").next().unwrap_or("rustc").trim().to_owned()
}
