//! The chores of the house, as `cargo run -p xtask -- CHORE`. It is not shipped and nothing depends on it.

mod codegen;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["codegen"] => codegen::run(codegen::Mode::Write),
        ["codegen", "--check"] => codegen::run(codegen::Mode::Check),
        _ => anyhow::bail!("usage: xtask codegen [--check]"),
    }
}
