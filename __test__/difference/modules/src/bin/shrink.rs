//! shrink <module> <shrunk module> <command> [argument]…: shrinks a module for as long as the command fails on it as it does
//! now, and prints its text. The command's last argument is a module's file.
//!
//! What it makes out of a module is valid, but may do what the generator keeps modules from, e.g. show a NaN's bits.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use difference_modules::{describe, shrink};
use wait_timeout::ChildExt;

/// A module that lost its check for fuel may run forever.
const LIMIT: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [input, output, command @ ..] = args.as_slice() else {
        anyhow::bail!("usage: shrink <module> <shrunk module> <command> [argument]…");
    };
    let output = Path::new(output);
    let module = std::fs::read(input)?;
    let failure = run(command, output, &module)?;
    ensure!(
        failure.is_some_and(|status| !status.success()),
        "the command does not fail"
    );
    let shrunk = shrink(&module, |candidate| {
        Ok(run(command, output, candidate)? == failure)
    })?;
    std::fs::write(output, describe(&shrunk)?)?;
    println!("{}", wasmprinter::print_bytes(&shrunk)?);
    Ok(())
}

/// How the command ends, if it does.
fn run(command: &[OsString], file: &Path, module: &[u8]) -> Result<Option<ExitStatus>> {
    std::fs::write(file, describe(module)?)?;
    let (program, args) = command.split_first().context("no command")?;
    let mut child = Command::new(program)
        .args(args)
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let status = child.wait_timeout(LIMIT)?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(status)
}
