//! What a client has told of itself on its connection.
//!
//! It is nobody's right to anything: clients say what they like. ApiVersions and the APIs of telemetry write it down.

use parking_lot::Mutex;
use std::sync::OnceLock;
use stdx::Uuid;

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct ClientInfo {
    software: OnceLock<(String, String)>,
    instance: Mutex<Option<Uuid>>,
}

impl ClientInfo {
    /// The client names its software and that one's version (KIP-511); what it says first counts.
    pub(crate) fn on_software(&self, name: String, version: String) {
        let _ = self.software.set((name, version));
    }

    /// The name and version of its software.
    pub(crate) fn software(&self) -> Option<&(String, String)> {
        self.software.get()
    }

    /// The client is that instance (KIP-714).
    pub(crate) fn on_instance(&self, instance: Uuid) {
        *self.instance.lock() = Some(instance);
    }

    /// Which instance it was last.
    pub(crate) fn instance(&self) -> Option<Uuid> {
        *self.instance.lock()
    }
}
