// SPDX-License-Identifier: MIT OR Apache-2.0
//! A description's file: read, judged, and its images found on this host.

use std::fs;
use std::path::{Path, PathBuf};

use system_spec::description::Description;
use system_spec::diagnostic::Severity;

use crate::workspace::Workspace;

/// A description that was read without an error.
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// What it says.
    pub description: Description,
    /// The images it names, each once, in order.
    pub images: Vec<(String, Image)>,
}

/// What `vm.image` turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// A package of this workspace, to be built.
    Package(String),
    /// A finished ELF file.
    File(PathBuf),
}

impl Source {
    /// Reads a description and shows all its remarks on standard error.
    ///
    /// # Errors
    /// A sentence, if the file can't be read or has an error.
    pub fn read(workspace: &Workspace, file: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut images: Vec<(String, Image)> = Vec::new();
        let read = Description::read_judging(&text, &mut |name| {
            let image = find_image(workspace, folder, name)?;
            if !images.iter().any(|(known, _)| known == name) {
                images.push((name.to_owned(), image));
            }
            Ok(())
        });
        let (description, remarks) = match read {
            Ok((description, warnings)) => (Some(description), warnings),
            Err(remarks) => (None, remarks),
        };
        for remark in &remarks {
            eprint!("{}", remark.render(&file.display().to_string(), &text));
        }
        let errors = remarks.iter().filter(|remark| remark.severity == Severity::Error).count();
        match description {
            Some(description) => Ok(Self { file: file.to_owned(), description, images }),
            None => Err(format!("{}: {errors} error{}", file.display(), if errors == 1 { "" } else { "s" })),
        }
    }

    /// The sibling file with the emulated machine's devices.
    #[must_use]
    pub fn qemu_file(&self) -> PathBuf {
        self.file.with_extension("qemu")
    }
}

fn find_image(workspace: &Workspace, folder: &Path, name: &str) -> Result<Image, (String, String)> {
    const HELP: &str = "write a folder of this workspace (\"images/hello\") or a path to an ELF file, from the \
                        description's folder or the project's";
    if let Some(package) = workspace.package_in(name) {
        return Ok(Image::Package(package));
    }
    let candidates = [folder.join(name), workspace.root.join(name)];
    let Some(file) = candidates.iter().find(|file| file.is_file()) else {
        return Err((format!("there is no image `{name}`"), HELP.to_owned()));
    };
    match fs::read(file) {
        Ok(bytes) if bytes.starts_with(b"\x7fELF") => Ok(Image::File(file.clone())),
        Ok(_) => {
            Err(("this file is no ELF image: other kinds are not supported yet".into(), HELP.to_owned()))
        }
        Err(error) => Err((format!("this image can't be read: {error}"), HELP.to_owned())),
    }
}
