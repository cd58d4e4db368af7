//! Kafka's command line tools, version 4.3.1 from Maven, each called by its class and judged by what it prints.
//! It does not know what the tools are for. Called by `tools` and `dump_log`.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::program::Program;
use crate::server::{java, kafka_class_path};

/// Time for one tool, on a slow and busy machine.
const TOOL_LIMIT: Duration = Duration::from_secs(180);

/// The tools' class path.
#[derive(Debug)]
pub struct JavaTools {
    class_path: String,
}

impl JavaTools {
    /// Fetches them if they are not in the cache.
    pub fn install() -> Result<JavaTools> {
        Ok(JavaTools { class_path: kafka_class_path("tools")? })
    }

    /// Starts one tool that runs until it is ended.
    pub fn start(&self, class: &str, args: &[&str]) -> Result<Program> {
        let mut command = java(&self.class_path, class, "-Xmx384m");
        command.args(args);
        Program::start(class.rsplit('.').next().unwrap_or(class), command)
    }

    /// Runs one tool; `input` is what it reads. Everything it printed, if it ended well.
    pub fn run(&self, class: &str, args: &[&str], input: Option<File>) -> Result<String> {
        let mut command = java(&self.class_path, class, "-Xmx384m");
        command.args(args);
        let name = class.rsplit('.').next().unwrap_or(class);
        let program = Program::start_fed(name, command, input.map_or_else(Stdio::null, Stdio::from))?;
        Ok(program.finish(TOOL_LIMIT)?.join("\n"))
    }

    /// Runs one tool and wants each of `wanted` in what it prints.
    pub fn expect(&self, class: &str, args: &[&str], wanted: &[&str]) -> Result<String> {
        let printed = self.run(class, args, None)?;
        for text in wanted {
            ensure!(printed.contains(text), "{text:?} is missing in:\n{printed}");
        }
        Ok(printed)
    }
}
