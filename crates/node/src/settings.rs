//! What a node was told, read and checked: the one place where configuration becomes plain values.

use crate::{Error, Layers, listeners::ListenerAddress};
use metadata::{
    Image,
    config::{Configs, Statics},
};
use model::NodeId;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};

/// Everything that a node needs to start.
#[derive(Debug)]
pub struct Settings {
    pub(crate) node_id: NodeId,
    pub(crate) log_dir: PathBuf,
    pub(crate) listeners: Vec<ListenerAddress>,
    pub(crate) advertised: Vec<ListenerAddress>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) statics: Arc<Statics>,
}

impl Settings {
    /// Reads the layers; gives all that is wrong at once.
    pub fn new(layers: Layers) -> Result<Self, Error> {
        let statics = Arc::new(Statics::new(layers.into_pairs()));
        let mut problems = statics.problems();
        let image = Image::new("");
        let resolved = Configs { image: &image, statics: &statics, node: -1 }.broker();
        let node_id = ["node.id", "broker.id"]
            .iter()
            .find_map(|key| statics.get(key)?.trim().parse().ok())
            .unwrap_or(1);
        let text = |key: &str| {
            resolved.text(key).map(|text| text.into_owned()).filter(|text| !text.trim().is_empty())
        };
        let controllers = resolved.list("controller.listener.names");
        let mut list = |key: &str| {
            let parsed = ListenerAddress::parse_list(&text(key).unwrap_or_default());
            let mut listeners = parsed.unwrap_or_else(|why| {
                problems.push(why);
                Vec::new()
            });
            listeners.retain(|listener| !controllers.contains(&listener.name));
            listeners
        };
        let (listeners, advertised) = (list("listeners"), list("advertised.listeners"));
        if listeners.is_empty() && problems.is_empty() {
            problems.push("no listener is configured; set listeners=PLAINTEXT://127.0.0.1:9092".into());
        }
        let map = resolved.text("listener.security.protocol.map").unwrap_or_default();
        problems.extend(listeners.iter().filter_map(|listener| secured(&map, &listener.name)));
        let log_dir = log_dir(&statics).unwrap_or_else(|why| {
            problems.push(why);
            PathBuf::new()
        });
        let http = text("odradek.http.listener").map(|text| text.parse::<SocketAddr>());
        let http = http.transpose().unwrap_or_else(|_| {
            problems.push("odradek.http.listener must be an address such as 127.0.0.1:9644".into());
            None
        });
        if !problems.is_empty() {
            return Err(Error::Configuration(problems));
        }
        Ok(Self { node_id, log_dir, listeners, advertised, http, statics })
    }
}

fn log_dir(statics: &Statics) -> Result<PathBuf, String> {
    let dirs = ["log.dirs", "log.dir"].iter().find_map(|key| statics.get(key));
    let dirs = dirs.ok_or("no log directory is configured; set log.dirs to a directory on a durable disk")?;
    match dirs.split(',').map(str::trim).filter(|dir| !dir.is_empty()).collect::<Vec<_>>().as_slice() {
        [] => Err("log.dirs is empty; set it to a directory on a durable disk".into()),
        [only] => Ok(PathBuf::from(only)),
        _ => Err("log.dirs names several directories; this version keeps its logs in one: name one".into()),
    }
}

/// What is wrong with a listener whose security protocol cannot be served.
fn secured(map: &str, name: &str) -> Option<String> {
    let pairs = map.split(',').filter_map(|pair| pair.trim().split_once(':'));
    let mut mapped = pairs
        .filter(|(listener, _)| listener.trim().eq_ignore_ascii_case(name))
        .map(|(_, protocol)| protocol);
    let protocol = mapped.next_back().map_or(name, str::trim);
    (!protocol.eq_ignore_ascii_case("PLAINTEXT")).then(|| {
        format!("listener {name} has the security protocol {protocol}; this version serves PLAINTEXT only: map it so")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(properties: &str) -> Result<Settings, String> {
        let mut layers = Layers::default();
        layers.read_properties(properties);
        Settings::new(layers).map_err(|error| error.to_string())
    }

    #[test]
    fn a_servers_properties_are_understood() {
        let settings = read(
            "process.roles=broker,controller\nnode.id=7\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
             advertised.listeners=PLAINTEXT://host:19092\ncontroller.listener.names=CONTROLLER\nlog.dirs=/d\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n",
        );
        let settings = settings.unwrap();
        assert_eq!((settings.node_id, settings.listeners.len()), (7, 1));
        assert_eq!(settings.advertised[0].host, "host");
    }

    #[test]
    fn everything_wrong_is_told_at_once_with_its_remedy() {
        let told =
            read("log.retention.mss=5\nlisteners=SSL://:1\nlog.dirs=/a,/b\nnum.partitions=x").unwrap_err();
        for part in ["log.retention.ms'", "PLAINTEXT only", "name one", "num.partitions"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(read("listeners=PLAINTEXT://:1").unwrap_err().contains("log.dirs"));
    }
}
