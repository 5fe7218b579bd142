// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every fixture in `tests/descriptions`: `NAME.toml` must give exactly the remarks in `NAME.txt`, or none and compile
//! if there is no such file. `BLESS=1` writes the files anew; read the difference before you keep it.
#![cfg(feature = "host")]

use std::fs;
use std::path::{Path, PathBuf};

use system_spec::check::Problem;
use system_spec::compiled::System;
use system_spec::description::Description;

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/descriptions");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

/// What the tool shows for a file; and the compiled description must be read back as it was.
fn shown(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let remarks = match Description::read(&text) {
        Ok((description, warnings)) => {
            let bytes = description.compile().unwrap();
            assert_eq!(System::read(&bytes).unwrap(), description.system(), "{name}");
            warnings
        }
        Err(remarks) => remarks,
    };
    remarks.iter().map(|remark| remark.render(name, &text)).collect()
}

#[test]
fn each_fixture_gives_its_remarks() {
    let files = fixtures();
    assert!(files.len() >= 30, "only {} fixtures found", files.len());
    let mut wrong = Vec::new();
    for file in &files {
        let expected_file = file.with_extension("txt");
        let found = shown(file);
        if std::env::var_os("BLESS").is_some() && !found.is_empty() {
            fs::write(&expected_file, &found).unwrap();
        }
        let expected = fs::read_to_string(&expected_file).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each rule has a fixture that breaks it. The match makes sure that a new rule isn't forgotten here.
#[test]
fn each_rule_has_a_fixture() {
    let all: String = (fixtures().iter())
        .map(|file| fs::read_to_string(file.with_extension("txt")).unwrap_or_default())
        .collect();
    let rules = [
        Problem::BadName,
        Problem::NoVms,
        Problem::NameTwice { first: 0 },
        Problem::NameOfPart,
        Problem::NoImage,
        Problem::ImageTooLong { length: 41 },
        Problem::ArgsTooLong { length: 300 },
        Problem::ArgsControl,
        Problem::MemoryStep { bytes: 1 << 20 },
        Problem::MemoryRange { bytes: 4 << 30 },
        Problem::Priority { priority: 201 },
        Problem::BudgetRange,
        Problem::ReservedTwice,
        Problem::PolicyTwice,
        Problem::NothingMatches,
        Problem::NotReserved,
        Problem::PhysicalNotReserved,
        Problem::NoVirtuals,
        Problem::VirtualsTwice,
        Problem::GivenTwice { vm: 0 },
        Problem::SlotTwice { device: 0 },
        Problem::SlotBus,
        Problem::SlotHostBridge,
        Problem::Vectors { vectors: 33 },
        Problem::Intx { intx: 11 },
        Problem::IntxTwice { vm: 0 },
        Problem::IntxVectors,
        Problem::IntxSlot { device: 0 },
        Problem::AllVectors { total: 96 },
        Problem::AllDevices { total: 13 },
    ];
    for rule in rules {
        assert!(all.contains(&format!("error: {rule}\n")), "no fixture shows: {rule}");
        assert!(all.contains(rule.help()), "no fixture shows: {}", rule.help());
    }
}
