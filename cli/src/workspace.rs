// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the workspace is, and which cargo package lies in a folder of it.

use std::fs;
use std::path::{Path, PathBuf};

/// The project's folder.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Absolute path of the folder with the workspace's `Cargo.toml`.
    pub root: PathBuf,
}

impl Workspace {
    /// Looks upwards from `start` for the workspace, and falls back to where this tool was built.
    ///
    /// # Errors
    /// A sentence, if there is none.
    pub fn find(start: &Path) -> Result<Self, String> {
        let start = start.canonicalize().unwrap_or_else(|_| start.to_owned());
        let built = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in start.ancestors().chain(built.ancestors()) {
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
            if manifest.contains("[workspace]") && folder.join("root-task").is_dir() {
                return Ok(Self { root: folder.to_owned() });
            }
        }
        Err("no Postern workspace here: run `postern` inside the project's folder".into())
    }

    /// Folder of the images that `build` makes for a system.
    #[must_use]
    pub fn build_folder(&self, system: &str) -> PathBuf {
        self.root.join("build").join(system)
    }

    /// The packages that run on the machine only: the members that aren't built for the host by default.
    #[must_use]
    pub fn machine_packages(&self) -> Vec<String> {
        let manifest = fs::read_to_string(self.root.join("Cargo.toml")).unwrap_or_default();
        let host = list(&manifest, "default-members");
        let members = list(&manifest, "members").into_iter().filter(|member| !host.contains(member));
        members.filter_map(|member| self.package_in(&member)).collect()
    }

    /// The name of the cargo package in a folder of the workspace; `None` if there is none.
    #[must_use]
    pub fn package_in(&self, folder: &str) -> Option<String> {
        let manifest = fs::read_to_string(self.root.join(folder).join("Cargo.toml")).ok()?;
        package_name(&manifest)
    }
}

/// The texts of a list in the workspace's manifest, `key = [ "…", … ]` at the beginning of a line.
fn list(manifest: &str, key: &str) -> Vec<String> {
    let start = format!("\n{key} = [");
    let Some((_, rest)) = manifest.split_once(&start) else { return Vec::new() };
    let list = rest.split_once(']').map_or(rest, |(list, _)| list);
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `name` in a manifest's `[package]`. Manifests of this workspace are written plainly; cargo itself judges the rest.
fn package_name(manifest: &str) -> Option<String> {
    let lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[package]").skip(1);
    let mut section = lines.take_while(|line| !line.starts_with('['));
    let value = section.find_map(|line| line.strip_prefix("name")?.trim_start().strip_prefix('='))?;
    Some(value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_itself() {
        let workspace = Workspace::find(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(workspace.package_in("cli").unwrap(), "postern-cli");
        assert_eq!(workspace.package_in("docs"), None);
        let machine = workspace.machine_packages();
        assert!(machine.contains(&"root-task".to_owned()) && !machine.contains(&"postern-cli".to_owned()));
    }

    #[test]
    fn package_names() {
        let manifest =
            "[lib]\nname = \"wrong\"\n[package]\nversion = \"1\"\nname = \"right\"\n[[bin]]\nname = \"no\"\n";
        assert_eq!(package_name(manifest).as_deref(), Some("right"));
        assert_eq!(package_name("[lib]\nname = \"wrong\"\n"), None);
    }
}
