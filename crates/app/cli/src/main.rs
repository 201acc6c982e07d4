//! The `neardata` binary.

fn main() {
    let arguments: Vec<_> = std::env::args_os().collect();
    let own_path = std::env::current_exe().map_or_else(|_| "neardata".into(), std::path::PathBuf::into_os_string);
    std::process::exit(neardata_cli::main_with(arguments, vec![own_path]));
}
