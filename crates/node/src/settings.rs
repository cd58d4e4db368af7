//! What a node was told, read and checked: the one place where configuration becomes plain values.

use crate::{
    Error, Layers,
    listeners::ListenerAddress,
    public_http::{Files, HTTP, HTTPS},
};
use broker::Address;
use metadata::{
    Image,
    config::{Configs, Resolved, Statics},
};
use model::NodeId;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};

mod trust;

pub(crate) use trust::Trust;

/// A key that names listeners, and the key that says what others call them.
pub(crate) type Keys = (&'static str, &'static str);

pub(crate) const LISTENERS: Keys = ("listeners", "advertised.listeners");
pub(crate) const GATEWAY_LISTENERS: Keys = ("odradek.gateway.listeners", "odradek.gateway.public.url");

pub(crate) const MQTT_LISTENERS: Keys = ("odradek.gateway.mqtt.listeners", "its host");

const CERTIFICATE: &str = "odradek.gateway.tls.certificate.file";
const CERTIFICATE_KEY: &str = "odradek.gateway.tls.key.file";

/// Everything that a node needs to start.
#[derive(Debug)]
pub struct Settings {
    pub(crate) node_id: NodeId,
    pub(crate) dirs: Dirs,
    pub(crate) listeners: Vec<ListenerAddress>,
    pub(crate) advertised: Vec<ListenerAddress>,
    /// Whether this node keeps partitions.
    pub(crate) is_broker: bool,
    pub(crate) controllers: Controllers,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) gateway: Gateway,
    pub(crate) statics: Arc<Statics>,
}

/// Where a node keeps what it has.
#[derive(Debug, Default)]
pub(crate) struct Dirs {
    /// Partitions; never empty.
    pub(crate) logs: Vec<PathBuf>,
    /// The metadata log.
    pub(crate) metadata: PathBuf,
}

/// Where streams of keys are served over HTTP, and how.
#[derive(Debug, Default)]
pub(crate) struct Gateway {
    /// None by default.
    pub(crate) listeners: Vec<ListenerAddress>,
    /// Of all listeners together.
    pub(crate) connections_max: u32,
    /// Where MQTT is served; none by default.
    pub(crate) mqtt_listeners: Vec<ListenerAddress>,
    /// Of all these together.
    pub(crate) mqtt_connections_max: u32,
    /// How long a long poll waits.
    pub(crate) poll_ms: i64,
    /// How clients reach them, if they are told.
    pub(crate) public_url: Option<String>,
    /// Who it is under TLS.
    pub(crate) certificate: Option<Files>,
    /// Who may use them.
    pub(crate) trust: Trust,
}

/// What the node was told of the quorum.
#[derive(Debug, Default)]
pub(crate) struct Controllers {
    /// Whether this node votes.
    pub(crate) is_one: bool,
    /// Where it listens for other controllers and for brokers.
    pub(crate) listeners: Vec<ListenerAddress>,
    /// Names of such listeners; the first is the one by which others are reached.
    pub(crate) names: Vec<String>,
    /// Where all are that are listed; empty for a node that is alone.
    pub(crate) listed: Vec<Address>,
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
        let names: Vec<String> =
            resolved.list("controller.listener.names").iter().map(|name| name.to_uppercase()).collect();
        let mut list = |key: &str| {
            let parsed = ListenerAddress::parse_list(&text(key).unwrap_or_default());
            parsed.unwrap_or_else(|why| {
                problems.push(why);
                Vec::new()
            })
        };
        let (listeners, advertised) = (list("listeners"), list("advertised.listeners"));
        let for_gateway = (list("odradek.gateway.listeners"), list("odradek.gateway.mqtt.listeners"));
        let gateway = Gateway::read(for_gateway, (&statics, &resolved), &mut problems);
        let (own, listeners): (Vec<_>, Vec<_>) =
            listeners.into_iter().partition(|listener| names.contains(&listener.name));
        let listed = listed(&resolved.list("controller.quorum.bootstrap.servers"))
            .and_then(|mut all| {
                all.extend(voters(&resolved.list("controller.quorum.voters"))?);
                Ok(all)
            })
            .unwrap_or_else(|why| {
                problems.push(why);
                Vec::new()
            });
        let roles = resolved.list("process.roles");
        let is_one = roles.is_empty() || roles.iter().any(|role| role == "controller");
        let is_broker = is_listed_broker(&resolved);
        // A lone node whose properties name a listener for controllers needs none.
        let is_clustered = !listed.is_empty();
        problems.extend(wrong_roles(is_one, is_broker, is_clustered, &own));
        problems.extend(gateway.unreached().filter(|_| is_clustered));
        let controllers =
            Controllers { is_one, listeners: if is_clustered { own } else { Vec::new() }, names, listed };
        if listeners.is_empty() && is_broker && problems.is_empty() {
            problems.push("no listener is configured; set listeners=PLAINTEXT://127.0.0.1:9092".into());
        }
        let map = resolved.text("listener.security.protocol.map").unwrap_or_default();
        // As in Kafka, a controller's listener is plain unless something else is said of any listener.
        let is_mapped = statics.get("listener.security.protocol.map").is_some();
        let all = listeners.iter().chain(controllers.listeners.iter().filter(|_| is_mapped));
        problems.extend(all.filter_map(|listener| secured(&map, &listener.name)));
        let dirs = log_dirs(&statics).unwrap_or_else(|why| {
            problems.push(why);
            Default::default()
        });
        let http = text("odradek.http.listener").map(|text| text.parse::<SocketAddr>());
        let http = http.transpose().unwrap_or_else(|_| {
            problems.push("odradek.http.listener must be an address such as 127.0.0.1:9644".into());
            None
        });
        if !problems.is_empty() {
            return Err(Error::Configuration(problems));
        }
        Ok(Self { node_id, dirs, listeners, advertised, is_broker, controllers, http, gateway, statics })
    }
}

impl Gateway {
    /// Adds what is wrong to `problems`.
    fn read(
        (listeners, mqtt_listeners): (Vec<ListenerAddress>, Vec<ListenerAddress>),
        (statics, resolved): (&Statics, &Resolved<'_>),
        problems: &mut Vec<String>,
    ) -> Self {
        let public_url = resolved.text("odradek.gateway.public.url").filter(|url| !url.trim().is_empty());
        let public_url = public_url.map(|url| url.into_owned());
        let file =
            |key: &str| resolved.text(key).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let certificate = match (file(CERTIFICATE), file(CERTIFICATE_KEY)) {
            (Some(certificate), Some(key)) => {
                Some(Files { certificate: certificate.into(), key: key.into() })
            }
            (None, None) => None,
            _ => {
                problems
                    .push(format!("{CERTIFICATE} and {CERTIFICATE_KEY} belong together; name both files"));
                None
            }
        };
        let gateway = Self {
            listeners,
            certificate,
            connections_max: u32::try_from(resolved.integer("odradek.gateway.connections.max")).unwrap_or(1),
            mqtt_listeners,
            mqtt_connections_max: u32::try_from(resolved.integer("odradek.gateway.mqtt.connections.max"))
                .unwrap_or(1),
            poll_ms: resolved.integer("odradek.gateway.long.poll.ms"),
            trust: Trust::read(statics, resolved, public_url.as_deref(), problems),
            public_url,
        };
        problems.extend(gateway.problem());
        problems.extend(gateway.mqtt_problem(is_listed_broker(resolved)));
        gateway
    }

    /// What is wrong with where MQTT is to be served.
    fn mqtt_problem(&self, is_broker: bool) -> Option<String> {
        let wrong = self.mqtt_listeners.iter().find(|listener| listener.name != "MQTT");
        if let Some(ListenerAddress { name, host, port }) = wrong {
            return Some(format!(
                "odradek.gateway.mqtt.listeners has {name}://{host}:{port}; this version serves MQTT over TCP only: write \
                 MQTT://{host}:{port}"
            ));
        }
        (!is_broker && !self.mqtt_listeners.is_empty()).then(|| {
            "odradek.gateway.mqtt.listeners is for nodes that are brokers; this one is a controller only: set it there"
                .into()
        })
    }

    /// What is wrong with it in a cluster.
    fn unreached(&self) -> Option<String> {
        let is_unreached =
            !self.listeners.is_empty() && self.listeners.iter().all(|listener| listener.name != HTTP);
        is_unreached.then(|| {
            "odradek.gateway.listeners has HTTPS only, and the cluster's nodes ask each other without TLS; add a listener such as \
             HTTP://10.0.0.1:8080 that only they reach"
                .to_owned()
        })
    }

    fn problem(&self) -> Option<String> {
        let wrong = self.listeners.iter().find(|listener| ![HTTP, HTTPS].contains(&listener.name.as_str()));
        if let Some(ListenerAddress { name, host, port }) = wrong {
            return Some(format!(
                "odradek.gateway.listeners has {name}://{host}:{port}; write HTTP://{host}:{port}, or HTTPS://{host}:{port} for TLS"
            ));
        }
        let is_secure = self.listeners.iter().any(|listener| listener.name == HTTPS);
        if is_secure && self.certificate.is_none() {
            return Some(format!(
                "odradek.gateway.listeners has HTTPS, and no certificate; name PEM files in {CERTIFICATE} and {CERTIFICATE_KEY}"
            ));
        }
        let url = self
            .public_url
            .as_ref()
            .filter(|url| !url.starts_with("http://") && !url.starts_with("https://"));
        url.map(|url| {
            format!("odradek.gateway.public.url is {url}; write it with its scheme, such as https://streams.example.com")
        })
    }
}

/// Whether the node keeps partitions.
fn is_listed_broker(resolved: &Resolved<'_>) -> bool {
    let roles = resolved.list("process.roles");
    roles.is_empty() || roles.iter().any(|role| role == "broker")
}

/// `host:port` of each.
fn listed(servers: &[String]) -> Result<Vec<Address>, String> {
    let read = |server: &String| {
        let wrong = || format!("'{server}' in controller.quorum.bootstrap.servers is not host:port");
        let (host, port) = server.trim().rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Address { host: host.to_owned(), port: port.parse().map_err(|_| wrong())? })
    };
    servers.iter().filter(|server| !server.trim().is_empty()).map(read).collect()
}

/// The addresses in `id@host:port`.
fn voters(voters: &[String]) -> Result<Vec<Address>, String> {
    let read = |voter: &String| {
        let wrong = || format!("'{voter}' in controller.quorum.voters is not id@host:port");
        voter.split_once('@').map(|(_, server)| server.to_owned()).ok_or_else(wrong)
    };
    let servers: Result<Vec<_>, _> =
        voters.iter().filter(|voter| !voter.trim().is_empty()).map(read).collect();
    listed(&servers?)
}

/// What is wrong about the roles of a node.
fn wrong_roles(
    is_controller: bool,
    is_broker: bool,
    is_clustered: bool,
    own: &[ListenerAddress],
) -> Option<String> {
    if !is_broker && !is_controller {
        return Some(
            "process.roles names neither broker nor controller; set it to one of them, or to both".into(),
        );
    }
    if !is_broker && !is_clustered {
        return Some(
            "process.roles=controller needs the list of controllers, itself among them: set \
             controller.quorum.bootstrap.servers"
                .into(),
        );
    }
    if !is_controller && !is_clustered {
        return Some(
            "process.roles=broker needs controllers: name them in controller.quorum.bootstrap.servers".into(),
        );
    }
    (is_controller && is_clustered && own.is_empty()).then(|| {
        "a controller of a cluster needs a listener: name one in controller.listener.names and give it an address in \
         listeners, such as listeners=PLAINTEXT://:9092,CONTROLLER://:9093"
            .into()
    })
}

/// The directories of logs, and that of the metadata log: as clients are told them, and compare them.
fn log_dirs(statics: &Statics) -> Result<Dirs, String> {
    let dirs = ["log.dirs", "log.dir"].iter().find_map(|key| statics.get(key));
    let dirs = dirs.ok_or("no log directory is configured; set log.dirs to a directory on a durable disk")?;
    let whole = |dir: &str| {
        std::path::absolute(dir)
            .map_err(|error| format!("the log directory {dir} has no whole path: {error}"))
    };
    let mut all: Vec<PathBuf> = Vec::new();
    for dir in dirs.split(',').map(str::trim).filter(|dir| !dir.is_empty()) {
        let dir = whole(dir)?;
        if all.contains(&dir) {
            return Err(format!("log.dirs names {} twice; name it once", dir.display()));
        }
        all.push(dir);
    }
    let Some(first) = all.first() else {
        return Err("log.dirs is empty; set it to a directory on a durable disk".into());
    };
    let metadata = statics.get("metadata.log.dir").map(str::trim).filter(|dir| !dir.is_empty());
    let metadata = metadata.map_or(Ok(first.clone()), whole)?;
    Ok(Dirs { logs: all, metadata })
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
    use crate::public_http::Limits;
    use gateway::{Hosts, Origins};

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
        assert!(settings.controllers.listeners.is_empty(), "it is alone");
    }

    #[test]
    fn a_node_of_a_cluster_is_told_by_its_listeners_and_the_list_of_controllers() {
        let base = "node.id=2\nlog.dirs=/d\ncontroller.listener.names=CONTROLLER\n\
                    listeners=PLAINTEXT://:9092,CONTROLLER://a:9093\n";
        for list in [
            "controller.quorum.bootstrap.servers=a:9093,b:9093",
            "controller.quorum.voters=1@a:9093,2@b:9093",
        ] {
            let controllers = read(&format!("{base}{list}")).unwrap().controllers;
            assert_eq!(controllers.listed.iter().map(|one| &*one.host).collect::<Vec<_>>(), ["a", "b"]);
            assert_eq!((controllers.listeners.len(), controllers.listeners[0].port), (1, 9093));
            assert!(controllers.is_one);
        }
        let told = read(
            "node.id=2\nlog.dirs=/d\nlisteners=PLAINTEXT://:9092\ncontroller.quorum.bootstrap.servers=a:1\n\
             controller.listener.names=CONTROLLER",
        );
        assert!(told.unwrap_err().contains("CONTROLLER://:9093"));
        let broker = "node.id=4\nlog.dirs=/d\nlisteners=PLAINTEXT://:9092\nprocess.roles=broker\n\
                      controller.listener.names=CONTROLLER\n";
        let one = read(&format!("{broker}controller.quorum.bootstrap.servers=a:1")).unwrap();
        assert!(!one.controllers.is_one && one.controllers.listeners.is_empty());
        assert!(read(broker).unwrap_err().contains("controller.quorum.bootstrap.servers"));
        let controller = "node.id=5\nlog.dirs=/d\nlisteners=CONTROLLER://a:9093\nprocess.roles=controller\n\
                          controller.listener.names=CONTROLLER\n";
        let one = read(&format!("{controller}controller.quorum.bootstrap.servers=a:9093")).unwrap();
        assert!(one.controllers.is_one && !one.is_broker && one.listeners.is_empty());
        assert!(read(controller).unwrap_err().contains("itself among them"));
        assert!(read(&format!("{broker}process.roles=x")).unwrap_err().contains("neither"));
    }

    #[test]
    fn logs_may_be_in_several_directories_and_the_metadata_log_in_one_of_its_own() {
        let dirs = |keys: &str| {
            let read = read(&format!("listeners=PLAINTEXT://:1\n{keys}")).unwrap();
            let shown =
                read.dirs.logs.iter().chain([&read.dirs.metadata]).map(|dir| dir.display().to_string());
            shown.collect::<Vec<_>>()
        };
        assert_eq!(
            dirs("log.dirs=/a, /b,/c"),
            ["/a", "/b", "/c", "/a"],
            "the first, if nothing else is said"
        );
        assert_eq!(dirs("log.dir=/a"), ["/a", "/a"]);
        assert_eq!(dirs("log.dirs=/a,/b\nmetadata.log.dir=/b"), ["/a", "/b", "/b"]);
        assert_eq!(dirs("log.dirs=/a\nmetadata.log.dir=/m"), ["/a", "/m"]);
        let here = std::env::current_dir().unwrap().join("d").display().to_string();
        assert_eq!(dirs("log.dirs=./d"), [here.clone(), here], "clients are told whole paths");
    }

    #[test]
    fn streams_are_served_where_a_listener_is_named_for_them() {
        let gateway = |keys: &str| {
            read(&format!("listeners=PLAINTEXT://:1\nlog.dirs=/d\n{keys}")).map(|read| read.gateway)
        };
        let none = gateway("").unwrap();
        assert!(none.listeners.is_empty() && none.public_url.is_none());
        assert_eq!((none.connections_max, none.poll_ms), (10_000, 20_000));
        let one = gateway(
            "odradek.gateway.listeners=http://127.0.0.1:8080,HTTP://[::1]:8080\nodradek.gateway.connections.max=7\n\
             odradek.gateway.public.url=https://s.example.com",
        );
        let one = one.unwrap();
        assert_eq!((one.listeners.len(), one.listeners[0].port, one.connections_max), (2, 8080, 7));
        assert_eq!(one.public_url.as_deref(), Some("https://s.example.com"));
        assert!(gateway("odradek.gateway.listeners=FTP://a:1").unwrap_err().contains("HTTPS://a:1 for TLS"));
        assert!(gateway("odradek.gateway.listeners=HTTPS://a:1").unwrap_err().contains("tls.key.file"));
        let (certificate, key) =
            ("odradek.gateway.tls.certificate.file=/c.pem", "odradek.gateway.tls.key.file=/k.pem");
        assert!(gateway(certificate).unwrap_err().contains("belong together"));
        let secure = format!("odradek.gateway.listeners=HTTPS://a:1\n{certificate}\n{key}");
        let files = Files { certificate: "/c.pem".into(), key: "/k.pem".into() };
        assert_eq!(gateway(&secure).unwrap().certificate, Some(files));
        let cluster = "controller.quorum.bootstrap.servers=h:9\ncontroller.listener.names=C\nlisteners=PLAINTEXT://:1,C://:2";
        let unreached = read(&format!("log.dirs=/d\n{cluster}\n{secure}")).unwrap_err();
        assert!(unreached.contains("without TLS"), "{unreached}");
        assert!(gateway("odradek.gateway.public.url=s.example.com").unwrap_err().contains("scheme"));
    }

    #[test]
    fn who_may_use_streams_is_read_and_what_is_wrong_is_told_at_once() {
        let trust = |keys: &str| {
            read(&format!("listeners=PLAINTEXT://:1\nlog.dirs=/d\n{keys}")).map(|read| read.gateway.trust)
        };
        let some = trust(
            "odradek.gateway.cors.origins=loopback, https://a.example\nodradek.gateway.hosts=s.example",
        )
        .unwrap();
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(Ok(some.screen.origins), Origins::new(&texts(&["loopback", "https://a.example"]), None));
        assert_eq!(Ok(some.screen.hosts), Hosts::new(&texts(&["s.example"]), None));
        let Limits { connections_max, requests_per_second, proxies } = some.limits;
        assert_eq!((connections_max, requests_per_second), (1000, 500));
        assert!(proxies.contains([127, 0, 0, 7].into()) && !proxies.contains([10, 0, 0, 7].into()));
        let limits = trust(
            "odradek.gateway.address.connections.max=0\nodradek.gateway.address.requests.per.second=7\n\
             odradek.gateway.proxies=10.0.0.0/8",
        );
        let Limits { connections_max, requests_per_second, proxies } = limits.unwrap().limits;
        assert_eq!((connections_max, requests_per_second), (0, 7));
        assert!(proxies.contains([10, 0, 0, 7].into()));
        assert!(trust("odradek.gateway.proxies=proxy").unwrap_err().contains("proxies has \"proxy\""));
        assert!(some.tokens.keys_file.is_none() && some.screen.cookie.is_none());
        let tokens = trust(
            "odradek.gateway.tokens.keys.file=/k\nodradek.gateway.tokens.issuers=https://id.example,b\n\
             odradek.gateway.tokens.audiences=streams\nodradek.gateway.tokens.leeway.seconds=7\n\
             odradek.gateway.tokens.cookie=od",
        );
        let Trust { tokens, screen, .. } = tokens.unwrap();
        let rules = tokens.rules;
        assert!(
            tokens.is_required
                && tokens.keys_file == Some("/k".into())
                && screen.cookie.as_deref() == Some("od")
        );
        assert_eq!(
            (rules.issuers.len(), &rules.audiences[..], rules.leeway_seconds),
            (2, &texts(&["streams"])[..], 7)
        );
        assert!(
            !trust("odradek.gateway.tokens.keys.file=/k\nodradek.gateway.tokens.required=false")
                .unwrap()
                .tokens
                .is_required
        );
        assert!(
            trust("odradek.gateway.tokens.required=true")
                .unwrap_err()
                .contains("odradek.gateway.tokens.keys.file")
        );
        assert!(trust("odradek.gateway.tokens.cookie=a b").unwrap_err().contains("letters"));
        let none = trust("odradek.gateway.public.url=https://s.example").unwrap();
        assert_eq!(
            Ok(none.screen.origins),
            Origins::new(&[], Some("https://s.example")),
            "its own pages may"
        );
        let told =
            trust("odradek.gateway.cors.origins=a.example\nodradek.gateway.hosts=http://h").unwrap_err();
        assert!(
            told.contains("cors.origins has \"a.example\"") && told.contains("hosts has \"http://h\""),
            "{told}"
        );
    }

    #[test]
    fn everything_wrong_is_told_at_once_with_its_remedy() {
        let told =
            read("log.retention.mss=5\nlisteners=SSL://:1\nlog.dirs=/a,/a/.\nnum.partitions=x").unwrap_err();
        for part in ["log.retention.ms'", "PLAINTEXT only", "name it once", "num.partitions"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(read("listeners=PLAINTEXT://:1").unwrap_err().contains("log.dirs"));
    }
}
