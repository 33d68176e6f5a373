//! Lets what is linked against `libduckdb` find it at run time: first beside itself, so that a folder with the
//! executable and the library just runs, then where it was linked from, so that a build in `target/` does.
#![expect(clippy::disallowed_methods, reason = "cargo tells a build script everything through its environment")]

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    // these are put into the binary
    for folder in ["providers", "integrations", "examples", "docs/errors"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    if env::var_os("CARGO_FEATURE_BUNDLED").is_some() {
        return;
    }
    let beside = match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos") => "@loader_path",
        Ok("linux") => "$ORIGIN",
        _ => return,
    };
    let linked_from = env::var("DUCKDB_LIB_DIR").ok().filter(|dir| !dir.is_empty());
    if linked_from.is_none() {
        println!("cargo:warning=DUCKDB_LIB_DIR is not set; `./dev build` fetches libduckdb and sets it");
    }
    for dir in [Some(beside.to_owned()), linked_from].into_iter().flatten() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{dir}");
    }
}
