//! Composition: configuration becomes a broker on sockets, with a private HTTP port, until a signal ends it.
//!
//! It is the only shipped crate that touches the operating system (in [`system`]). It decides nothing about records,
//! topics or groups. `odradek`'s commands `dev` and `serve` call [`run`].

mod error;
mod http;
mod layers;
mod limits;
mod listeners;
mod logging;
mod metrics;
mod mqtt;
mod public_http;
mod run;
mod settings;
pub mod system;

pub use error::Error;
pub use layers::Layers;
pub use run::{Greeting, run};
pub use settings::Settings;
