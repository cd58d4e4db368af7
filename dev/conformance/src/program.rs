//! Running a foreign program: its lines as they come, its last JSON object, its time limit, its words when it fails.
//! It is not a shell: arguments go through untouched, and every program started here is ended here.
//! Called by everything that starts a client, a tool or an installer.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Lines that wait for the harness; a program that prints faster waits.
const LINES_WAITING_MAX: usize = 1024;

/// How much of a failed program's error output is shown.
const STDERR_SHOWN_MAX: usize = 4_000;

/// A running program whose standard output is read line by line.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    lines: Receiver<String>,
    stderr: Option<thread::JoinHandle<String>>,
    started: Instant,
}

impl Program {
    /// Starts `command` with nothing to read; `name` is what messages call it.
    pub fn start(name: &str, command: Command) -> Result<Program> {
        Program::start_fed(name, command, Stdio::null())
    }

    /// Starts `command`, which reads `input`.
    pub fn start_fed(name: &str, mut command: Command, input: Stdio) -> Result<Program> {
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("{:?}", command.get_program());
        let mut child = command.spawn().with_context(|| format!("starting {name}: is {shown} installed?"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut stderr = child.stderr.take().context("no standard error")?;
        let (send, lines) = sync_channel(LINES_WAITING_MAX);
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = Vec::new();
            // Not all that programs print is text.
            while stdout.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = line.strip_suffix(b"\n").unwrap_or(&line);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                if send.send(String::from_utf8_lossy(text).into_owned()).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let stderr = thread::spawn(move || {
            let mut bytes = Vec::new();
            // What cannot be read is not shown.
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Ok(Program { name: name.to_owned(), child, lines, stderr: Some(stderr), started: Instant::now() })
    }

    /// The process id, for signals and `/proc`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line, or `None` when the program closed its output or `wait` is over.
    pub fn line(&self, wait: Duration) -> Option<String> {
        self.lines.recv_timeout(wait).ok()
    }

    /// The next line or the reason why there is none: time is over, or the program ended its output.
    pub fn next_line(&self, wait: Duration) -> Result<String, RecvTimeoutError> {
        self.lines.recv_timeout(wait)
    }

    /// Ends it and gives the end of what it wrote to its error output.
    pub fn last_words(&mut self) -> String {
        self.kill();
        let said = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        tail(&said).to_owned()
    }

    /// Asks it to end, as an operator would.
    pub fn terminate(&self) -> Result<()> {
        signal(self.pid(), rustix::process::Signal::TERM)
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        // A program that has already ended is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// For how long it has been there.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for its end within `limit` of its start; its remaining lines, or what it said when it failed.
    pub fn finish(mut self, limit: Duration) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut pulse = Instant::now();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(1)) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if self.started.elapsed() > limit => {
                    self.kill();
                    bail!("{} did not end within {} s", self.name, limit.as_secs());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if pulse.elapsed() > Duration::from_secs(15) {
                pulse = Instant::now();
                println!("        {} is at work, {} s", self.name, self.started.elapsed().as_secs());
            }
        }
        let status = self.child.wait()?;
        let said = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        if !status.success() {
            bail!("{} failed ({status}): {}", self.name, tail(&format!("{}\n{said}", lines.join("\n"))));
        }
        Ok(lines)
    }

    /// Waits for its end and takes the last line as the JSON object that every client prints.
    pub fn json(self, limit: Duration) -> Result<Value> {
        let name = self.name.clone();
        let lines = self.finish(limit)?;
        let last = lines.last().with_context(|| format!("{name} printed nothing"))?;
        serde_json::from_str(last).with_context(|| format!("{name} printed {last:?}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `command` to its end: its output, or what it said when it failed.
pub fn run(name: &str, command: Command, limit: Duration) -> Result<String> {
    Ok(Program::start(name, command)?.finish(limit)?.join("\n"))
}

/// Sends a signal to one process by its id.
pub fn signal(pid: u32, signal: rustix::process::Signal) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("no such process")?;
    rustix::process::kill_process(pid, signal).context("sending a signal")
}

/// The end of a long text, at a character boundary.
fn tail(text: &str) -> &str {
    let text = text.trim();
    let mut from = text.len().saturating_sub(STDERR_SHOWN_MAX);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_last_line_is_the_result() {
        let program = Program::start("echo", shell("echo progress; echo '{\"count\": 3}'")).unwrap();
        assert_eq!(program.json(Duration::from_secs(5)).unwrap()["count"], 3);
    }

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error =
            run("false", shell("echo out; echo why >&2; exit 3"), Duration::from_secs(5)).unwrap_err();
        assert!(error.to_string().contains("why") && error.to_string().contains('3'), "{error}");
    }

    #[test]
    fn what_is_no_text_is_no_end_of_the_lines() {
        let said = run("printf", shell(r"printf 'one\n\377\ntwo \nthree'"), Duration::from_secs(5)).unwrap();
        assert_eq!(said, "one\n\u{fffd}\ntwo \nthree");
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let error = run("sleep", shell("exec sleep 60"), Duration::from_millis(10)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }
}
