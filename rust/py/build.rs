//! Tells the code whether it is built for a Python without a GIL.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    let profile = std::env::var("PROFILE").unwrap_or_default();
    println!(
        "cargo:rustc-env=TM_BUILD_PROFILE={}",
        if profile == "release" {
            "release"
        } else {
            "dev"
        }
    );
}
