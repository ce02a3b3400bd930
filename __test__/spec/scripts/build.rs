//! Where the package is that has the scripts of exceptions in their older form.

use std::error::Error;

use cargo_metadata::MetadataCommand;

fn main() -> Result<(), Box<dyn Error>> {
    // What is needed elsewhere was not downloaded.
    let platform = ["--filter-platform".to_owned(), std::env::var("TARGET")?];
    let options = ["--locked".to_owned(), "--offline".to_owned()];
    let metadata = MetadataCommand::new()
        .other_options([platform, options].concat())
        .exec()?;
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name == "wasm-tools");
    let package = package.ok_or("wasm-tools is no dependency")?;
    let folder = package
        .manifest_path
        .with_file_name("tests/cli/legacy-exceptions");
    println!("cargo::rustc-env=LEGACY_EXCEPTIONS={folder}");
    println!("cargo::rerun-if-changed=Cargo.lock");
    Ok(())
}
