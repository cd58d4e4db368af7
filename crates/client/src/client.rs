//! A cluster as a client sees it: one link per broker and purpose, metadata that is renewed when it proves old, and
//! calls that are repeated while their errors pass.
//!
//! It does not produce or consume; `producer`, `consumer` and the administrative calls stand on it.

use crate::{Broker, Cluster, Config, Connect, Error, Topic, backoff::Backoff, link::Link};
use env::{Deadline, World};
use model::NodeId;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use wire::{
    ErrorCode, FindCoordinatorRequest, MetadataRequest, Request, metadata_request::MetadataRequestTopic,
};

/// Topics that are asked for but unknown may be about to be created; so many attempts are made.
const UNKNOWN_TOPIC_ATTEMPTS: u32 = 6;

/// What a link is for. Answers come in the order of requests, so what waits long has a link of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// What is answered at once.
    Ask,
    /// Records to the broker.
    Produce,
    /// Records from the broker.
    Fetch,
    /// Joining a group, which waits for the other members.
    Join,
}

/// A client of one cluster. Clones share everything.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    world: World,
    connect: Arc<dyn Connect>,
    config: Config,
    cluster: Mutex<Arc<Cluster>>,
    links: Mutex<BTreeMap<(String, Lane), Slot>>,
}

/// The link of one purpose, if there is one; locked while it is opened, so that only one is.
type Slot = Arc<tokio::sync::Mutex<Option<Link>>>;

/// Attempts of one call; says how long it goes on.
pub(crate) struct Attempts<'a> {
    client: &'a Client,
    deadline: Deadline,
    backoff: Backoff,
}

impl Client {
    /// Finds the cluster: the first of the addresses that answers is enough.
    pub async fn connect(world: World, connect: Arc<dyn Connect>, config: Config) -> Result<Self, Error> {
        let shared = Shared { world, connect, config, cluster: Mutex::default(), links: Mutex::default() };
        let client = Self { shared: Arc::new(shared) };
        client.refresh(Some(&[]), false).await?;
        Ok(client)
    }

    /// What is known about the cluster at the moment.
    pub fn cluster(&self) -> Arc<Cluster> {
        lock(&self.shared.cluster).clone()
    }

    /// A topic, asked for if it is not known. A broker that creates topics by itself does so if `create`.
    pub async fn topic(&self, name: &str, create: bool) -> Result<Arc<Topic>, Error> {
        if let Ok(topic) = self.cluster().topic(name) {
            return Ok(topic.clone());
        }
        self.topic_anew(name, create).await
    }

    /// A topic as the brokers know it at the moment.
    pub async fn topic_anew(&self, name: &str, create: bool) -> Result<Arc<Topic>, Error> {
        let mut attempts = self.attempts();
        loop {
            let found = match self.refresh(Some(&[name]), create).await {
                Ok(()) => self.cluster().topic(name).cloned(),
                Err(error) => return Err(error),
            };
            let patience = match found.as_ref().err().and_then(Error::code) {
                Some(ErrorCode::UnknownTopicOrPartition) if !create => 0,
                Some(ErrorCode::UnknownTopicOrPartition) => UNKNOWN_TOPIC_ATTEMPTS,
                _ => u32::MAX,
            };
            match found {
                Err(error) if attempts.made() < patience && attempts.again(&error).await => {}
                found => return found,
            }
        }
    }

    /// All topics as the brokers know them at the moment.
    pub async fn topics_anew(&self) -> Result<Vec<Arc<Topic>>, Error> {
        self.refresh(None, false).await?;
        Ok(self.cluster().topics().cloned().collect())
    }

    /// Asks for metadata: of these topics, or of all.
    pub(crate) async fn refresh(&self, topics: Option<&[&str]>, create: bool) -> Result<(), Error> {
        let topics_asked = topics.map(|names| {
            let asked =
                |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
            names.iter().map(asked).collect()
        });
        let request =
            MetadataRequest { topics: topics_asked, allow_auto_topic_creation: create, ..Default::default() };
        let response = self.ask(&request).await?;
        let mut cluster = lock(&self.shared.cluster);
        *cluster = Arc::new(cluster.updated(response, topics.is_none()));
        Ok(())
    }

    /// Asks for metadata of the topics that are known, because what is known proved old.
    pub(crate) async fn refresh_known(&self) -> Result<(), Error> {
        let cluster = self.cluster();
        let names: Vec<&str> = cluster.topics().map(|topic| topic.name.as_str()).collect();
        self.refresh(Some(&names), false).await
    }

    /// Asks any broker; tries them all, those of the metadata first, and begins anew while none can be reached.
    pub(crate) async fn ask<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        let mut attempts = self.attempts();
        loop {
            let cluster = self.cluster();
            let known = cluster.brokers().map(|broker| &broker.addr);
            let mut failed =
                Error::Invalid("no bootstrap address is given; use --bootstrap HOST:PORT".into());
            for addr in known.chain(&self.shared.config.bootstrap) {
                match self.call(addr, Lane::Ask, request).await {
                    Err(error) if error.is_passing() => failed = error,
                    other => return other,
                }
            }
            // A cluster that was never reached is most likely not there, and somebody waits for the message.
            let first_contact = cluster.brokers().next().is_none();
            if first_contact || !attempts.again(&failed).await {
                return Err(failed);
            }
        }
    }

    /// Whether a broker answers at the address that it tells clients.
    pub async fn reach(&self, node: NodeId) -> Result<(), Error> {
        self.ask_node(node, &MetadataRequest::default()).await.map(drop)
    }

    /// Asks one broker, once.
    pub(crate) async fn ask_node<R: Request>(&self, node: NodeId, request: &R) -> Result<R::Response, Error> {
        let addr = self.cluster().broker(node)?.addr.clone();
        self.call(&addr, Lane::Ask, request).await
    }

    /// Asks the coordinator of a group, found anew each time; once.
    pub(crate) async fn ask_coordinator<R: Request>(
        &self,
        group: &str,
        request: &R,
    ) -> Result<R::Response, Error> {
        let addr = self.coordinator(group).await?.addr;
        self.call(&addr, Lane::Ask, request).await
    }

    /// The coordinator of a group; waits while it is being made.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<Broker, Error> {
        let request =
            FindCoordinatorRequest { key: String::new(), key_type: 0, coordinator_keys: vec![group.into()] };
        let mut attempts = self.attempts();
        loop {
            match self.find_coordinator(group, &request).await {
                Err(error) if attempts.again(&error).await => {}
                found => return found,
            }
        }
    }

    async fn find_coordinator(&self, group: &str, request: &FindCoordinatorRequest) -> Result<Broker, Error> {
        // Versions below 4 have one key and one answer, later ones a list of each.
        let response = match self.ask(request).await {
            Err(Error::Invalid(_)) => {
                let old =
                    FindCoordinatorRequest { key: group.into(), key_type: 0, coordinator_keys: Vec::new() };
                self.ask(&old).await?
            }
            other => other?,
        };
        let subject = || format!("the coordinator of group '{group}'");
        if let Some(found) = response.coordinators.into_iter().next() {
            Error::from_code(found.error_code, found.error_message, subject)?;
            let addr = crate::cluster::address(&found.host, found.port);
            return Ok(Broker { id: found.node_id, addr, rack: None });
        }
        Error::from_code(response.error_code, response.error_message, subject)?;
        let addr = crate::cluster::address(&response.host, response.port);
        Ok(Broker { id: response.node_id, addr, rack: None })
    }

    /// Sends one request over the link of an address and purpose, which is opened if there is none.
    pub(crate) async fn call<R: Request>(
        &self,
        addr: &str,
        lane: Lane,
        request: &R,
    ) -> Result<R::Response, Error> {
        self.link(addr, lane).await?.call(request).await
    }

    /// The link of a broker and purpose.
    pub(crate) async fn link_of(&self, node: NodeId, lane: Lane) -> Result<Link, Error> {
        let addr = self.cluster().broker(node)?.addr.clone();
        self.link(&addr, lane).await
    }

    /// The link of an address and purpose.
    pub(crate) async fn link(&self, addr: &str, lane: Lane) -> Result<Link, Error> {
        let slot = lock(&self.shared.links).entry((addr.to_owned(), lane)).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| !link.is_broken()) {
            return Ok(link.clone());
        }
        *slot = None;
        let shared = &self.shared;
        let link = Link::open(&shared.world, &*shared.connect, &shared.config, addr).await?;
        *slot = Some(link.clone());
        Ok(link)
    }

    /// Attempts from now on, for as long as the configuration allows.
    pub(crate) fn attempts(&self) -> Attempts<'_> {
        Attempts { client: self, deadline: self.retry_deadline(), backoff: Backoff::default() }
    }

    /// Until when something that fails now is tried again.
    pub(crate) fn retry_deadline(&self) -> Deadline {
        self.shared.world.clock.after_millis(self.shared.config.retry_timeout_ms)
    }

    /// The world that the client lives in.
    pub(crate) fn world(&self) -> &World {
        &self.shared.world
    }

    /// How long requests with a time limit of their own give the broker.
    pub(crate) fn request_timeout_ms(&self) -> i32 {
        i32::try_from(self.shared.config.request_timeout_ms).unwrap_or(i32::MAX)
    }

    /// Waits, by the client's clock.
    pub(crate) async fn sleep_ms(&self, millis: i64) {
        let clock = &self.shared.world.clock;
        clock.sleep_until(clock.after_millis(millis)).await;
    }
}

impl Attempts<'_> {
    /// Whether to try again: if the error passes and there is time. Waits a little before it says so.
    pub(crate) async fn again(&mut self, error: &Error) -> bool {
        let world = self.client.world();
        if !error.is_passing() || world.clock.now() >= self.deadline {
            return false;
        }
        let wait_ms = self.backoff.next_ms(world.random.next_u64());
        self.client.sleep_ms(wait_ms).await;
        true
    }

    /// As [`Self::again`], with new metadata, because the error may be that it is old.
    pub(crate) async fn again_with_metadata(&mut self, error: &Error) -> bool {
        // What fails here fails again in the attempt, with a better message.
        self.again(error).await && {
            self.client.refresh_known().await.ok();
            true
        }
    }

    /// How many waits there were.
    pub(crate) fn made(&self) -> u32 {
        self.backoff.attempts()
    }
}

/// Locks; a thread that panicked while it had the lock left the value whole, because it is only ever replaced.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
