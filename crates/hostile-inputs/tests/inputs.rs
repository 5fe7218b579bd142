// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each target over noise, and over every input that once broke it.

use std::fs;
use std::path::Path;

use hostile_inputs::TARGETS;

const ROUNDS: usize = 3000;

/// Marsaglia's xorshift: the same inputs each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Small numbers often: they are the ones that mean something.
    fn input(&mut self) -> Vec<u8> {
        let length = self.next() as usize % 200;
        let byte = |word: u64| if word & 0x300 == 0 { word as u8 } else { word as u8 & 0x1f };
        (0..length).map(|_| byte(self.next())).collect()
    }
}

#[test]
fn noise_breaks_nothing() {
    for (name, target) in TARGETS {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        println!("{name}");
        for _ in 0..ROUNDS {
            target(&noise.input());
        }
    }
}

#[test]
fn what_broke_something_once_doesn_t_any_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crashes");
    let Ok(folders) = fs::read_dir(folder) else { return };
    for folder in folders.map(|entry| entry.unwrap().path()) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let target = hostile_inputs::target(&name).unwrap_or_else(|| panic!("{name} is no target"));
        for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            println!("{}", file.display());
            target(&fs::read(&file).unwrap());
        }
    }
}

/// `make fuzz` takes its list from there.
#[test]
fn each_target_has_its_fuzzer() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let names = manifest.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let targets: Vec<_> = TARGETS.iter().map(|target| target.0).collect();
    assert_eq!(names.skip(1).collect::<Vec<_>>(), targets);
}
