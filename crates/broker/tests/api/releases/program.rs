//! The program of a release as a process, and connections to it that tests use like those in memory. It knows nothing of what
//! is said on them.

use crate::harness::{Client, Wire};
use bytes::Bytes;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::Duration,
};
use tokio::sync::mpsc;

/// A running program. It is killed when it is dropped.
pub(super) struct Program {
    child: Child,
    port: u16,
    /// How many log directories it has.
    pub(super) dirs: usize,
}

/// How long it may take until it listens.
const START_TENTHS_MAX: u32 = 300;

impl Program {
    /// Starts node 7; `None` if it ends by itself.
    pub(super) async fn start(binary: &Path, dirs: &[PathBuf], statics: &[(&str, &str)]) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log_dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        let mut command = Command::new(binary);
        command.arg("serve").args(["--set", &format!("node.id={}", crate::harness::NODE_ID)]);
        command.args(["--set", &format!("log.dirs={}", log_dirs.join(","))]);
        command.args(["--set", &format!("listeners=PLAINTEXT://127.0.0.1:{port}")]);
        for (key, value) in statics {
            command.args(["--set", &format!("{key}={value}")]);
        }
        std::fs::create_dir_all(dirs[0].parent().unwrap()).unwrap();
        let mut child = command.spawn().unwrap();
        for _ in 0..START_TENTHS_MAX {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Self { child, port, dirs: dirs.len() });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it does not listen");
    }

    /// A client on a connection of its own.
    pub(super) fn client(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let (to_broker, mut from_client) = mpsc::channel::<Bytes>(64);
        let (to_client, from_broker) = mpsc::channel(64);
        let mut writing = stream.try_clone().unwrap();
        thread::spawn(move || {
            while let Some(bytes) = from_client.blocking_recv() {
                if writing.write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ = writing.shutdown(Shutdown::Both);
        });
        let mut reading = stream;
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                if to_client.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                    break;
                }
            }
        });
        Client::new(Wire { to_broker: Some(to_broker), from_broker })
    }

    /// Stops it as an operator would.
    pub(super) fn stop(mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
