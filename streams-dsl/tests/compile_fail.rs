//! Programs that must not compile, and what the compiler says of them: a reader has to be able to act on it.
//!
//! Each file in `compile_fail/` is a program; the compiler's errors must hold the lines that it marks with `//~`. They are
//! compiled against the library that this test was built with, for a build of their own would compile RocksDB again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail")
}

/// Checks a program against one build of the library.
fn compile(program: &Path, library: &Path) -> Output {
    let dependencies = library.parent().unwrap();
    let out = scratch();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "--crate-type", "bin", "--emit", "metadata", "--color", "never"]);
    command.arg("--extern").arg(format!("kstreams_dsl={}", library.display()));
    command.arg("-L").arg(format!("dependency={}", dependencies.display()));
    command.arg("--out-dir").arg(out).arg(program);
    command.output().expect("rustc runs")
}

/// Where the compiler puts what it should not come to make.
fn scratch() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// The library of this build: older ones may lie beside it, so the newest with which a right program compiles.
fn library() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let entries = std::fs::read_dir(executable.parent().unwrap()).unwrap();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let is_library = name.starts_with("libkstreams_dsl-") && name.ends_with(".rlib");
            let modified = path.metadata().ok()?.modified().ok()?;
            is_library.then_some((modified, path))
        })
        .collect();
    found.sort();
    let control = cases().join("control.rs");
    let mut said = String::new();
    for (_, library) in found.into_iter().rev() {
        let output = compile(&control, &library);
        if output.status.success() {
            return library;
        }
        said = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    panic!("no build of the library compiles {}:\n{said}", control.display());
}

/// Text as it is compared: the layout of messages differs from compiler to compiler.
fn flat(text: &str) -> String {
    text.split(|letter: char| letter.is_whitespace() || "|=^-".contains(letter))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn wrong_programs_do_not_compile_and_the_message_says_what_to_do() {
    let library = library();
    let mut checked = 0;
    let mut failed = Vec::new();
    for entry in std::fs::read_dir(cases()).unwrap() {
        let program = entry.unwrap().path();
        if program.file_name().unwrap() == "control.rs" {
            continue;
        }
        let text = std::fs::read_to_string(&program).unwrap();
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("//~ ")).collect();
        assert!(!expected.is_empty(), "{} says nothing", program.display());
        let output = compile(&program, &library);
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            failed.push(format!("{} compiles", program.display()));
        }
        for line in expected {
            if !flat(&said).contains(&flat(line)) {
                failed.push(format!("{}: {line:?} is not in\n{said}", program.display()));
            }
        }
        checked += 1;
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(checked >= 10, "only {checked} programs were there");
}
