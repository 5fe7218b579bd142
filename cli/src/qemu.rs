// SPDX-License-Identifier: MIT OR Apache-2.0
//! The emulated machine's command line.
//!
//! What stands in for a description's devices is said beside it, in `<name>.qemu`, so that the description stays about
//! the machine and not about its emulation: one QEMU argument per line, `#` begins a comment, an option and its value
//! may share a line, `${PORT}` is the host's HTTP port. A line that begins with `@` replaces a setting of the machine
//! itself: `@machine`, `@cpu`, `@memory`, `@iommu` (`none` for no IOMMU).

use std::fs;
use std::path::Path;

use crate::image::BootImage;

/// QEMU's program.
pub const PROGRAM: &str = "qemu-system-x86_64";
/// The host's HTTP port if nothing else is said.
pub const DEFAULT_PORT: u16 = 8080;

/// The machine's settings. The default is the reference machine of the tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `-machine`.
    pub machine: String,
    /// `-cpu`.
    pub cpu: String,
    /// `-m`.
    pub memory: String,
    /// The IOMMU's `-device`, the first of all; none if absent.
    pub iommu: Option<String>,
    /// The devices and whatever else there is.
    pub arguments: Vec<String>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            machine: "q35".into(),
            cpu: "EPYC".into(),
            memory: "1G".into(),
            iommu: Some("intel-iommu,intremap=on,aw-bits=48".into()),
            arguments: Vec::new(),
        }
    }
}

impl Machine {
    /// The machine that a `.qemu` file describes; the default one if there is no such file.
    ///
    /// # Errors
    /// A sentence with file and line.
    pub fn read(file: &Path, port: u16) -> Result<Self, String> {
        if !file.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Self::parse(&text, port).map_err(|(line, error)| format!("{}:{line}: {error}", file.display()))
    }

    fn parse(text: &str, port: u16) -> Result<Self, (usize, String)> {
        let mut machine = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line =
                line.split('#').next().unwrap_or_default().trim().replace("${PORT}", &port.to_string());
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
            let rest = rest.trim().to_owned();
            match word {
                "" => {}
                "@machine" => machine.machine = rest,
                "@cpu" => machine.cpu = rest,
                "@memory" => machine.memory = rest,
                "@iommu" if rest == "none" => machine.iommu = None,
                "@iommu" => machine.iommu = Some(rest),
                word if word.starts_with('@') => {
                    return Err((index + 1, format!("unknown setting `{word}`")));
                }
                word => {
                    machine.arguments.push(word.to_owned());
                    machine.arguments.extend((!rest.is_empty()).then_some(rest));
                }
            }
        }
        Ok(machine)
    }

    /// The arguments that make the machine, without what it boots and where its serial port goes.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "-machine",
            &self.machine,
            "-cpu",
            &self.cpu,
            "-m",
            &self.memory,
            "-smp",
            "1",
            "-display",
            "none",
            "-no-reboot",
            "-nodefaults",
        ]
        .map(String::from)
        .to_vec();
        if let Some(iommu) = &self.iommu {
            arguments.extend(["-device".into(), iommu.clone()]);
        }
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }
}

/// The arguments that boot an image.
#[must_use]
pub fn boot_arguments(image: &BootImage) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    vec!["-kernel".into(), path(&image.kernel), "-initrd".into(), path(&image.root_task)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changes_the_machine() {
        let text = "# devices\n@cpu max\n@iommu none\n\n-device edu,bus=rp1 # the device\n-netdev\n  \
                    user,hostfwd=tcp:127.0.0.1:${PORT}-:80\n";
        let machine = Machine::parse(text, 8081).unwrap();
        assert_eq!(machine.cpu, "max");
        assert_eq!(machine.iommu, None);
        assert_eq!(
            machine.arguments,
            ["-device", "edu,bus=rp1", "-netdev", "user,hostfwd=tcp:127.0.0.1:8081-:80"]
        );
        assert!(!machine.arguments().iter().any(|argument| argument.contains("iommu")));
    }

    #[test]
    fn unknown_settings_are_errors() {
        assert_eq!(Machine::parse("\n@cpus 3\n", 1), Err((2, "unknown setting `@cpus`".into())));
    }

    #[test]
    fn the_iommu_comes_first() {
        let machine = Machine { arguments: vec!["-device".into(), "edu".into()], ..Machine::default() };
        let arguments = machine.arguments();
        let first = arguments.iter().position(|argument| argument == "-device").unwrap();
        assert_eq!(arguments[first + 1], "intel-iommu,intremap=on,aw-bits=48");
    }
}
