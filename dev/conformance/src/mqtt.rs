//! Topics over MQTT: Eclipse Paho's clients of 3.1.1 and 5.0 publish, subscribe, and resume their sessions over a `kill -9` of the broker, with
//! Kafka's clients in the same topic.
//! What must hold the script says. Called as `conformance mqtt`.

use std::time::Duration;

use anyhow::Result;

use crate::clients::{Client, Clients};
use crate::main_job::fresh;
use crate::report::Report;
use crate::server::{Kind, Server, Setup, free_ports};

/// The script waits twenty seconds for each message.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs all of it.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    if kind != &Kind::Odradek {
        report.skip("mqtt", "Apache Kafka does not speak it");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let clients = Clients::install()?;
    let port = free_ports(1)?.into_iter().next().unwrap_or(0).to_string();
    let setup = Setup::new(kind.clone(), dir.path())
        .set("odradek.gateway.mqtt.listeners", format!("MQTT://127.0.0.1:{port}"))
        .set("auto.create.topics.enable", "false");
    let mut server = Server::start(setup)?;
    let topic = fresh("rides");
    clients.call(Client::Librdkafka, "create", server.bootstrap(), &[&topic, "3"])?;
    let told = |verb: &str, server: &Server| {
        let told = clients.phones(verb, &port, &[server.bootstrap(), &topic])?.json(LIMIT)?;
        Ok(told.get("done").map(ToString::to_string).unwrap_or_default())
    };
    report.check("mqtt: Paho's clients and Kafka's in one topic", || told("work", &server));
    server.kill()?;
    server.start_again()?;
    report.check("mqtt: sessions go on after kill -9", || told("resume", &server));
    server.stop()?;
    Ok(())
}
