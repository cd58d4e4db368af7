//! The host of the controller: keeps its log `__cluster_metadata`, asks it one request after the other, publishes the
//! image, and lets the broker follow it before the answer leaves.
//!
//! It decides nothing about metadata. One node is a quorum of one: what is durable here is committed.

use crate::{acks::Acks, metadata_records, partition::Partition};
use arc_swap::ArcSwap;
use coordinator::{Now, Shard};
use env::{BoxFuture, World};
use metadata::{Controller, Error, Image, Position, Record, Reply, Request};
use std::{io, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait for the controller at once; more wait at their connections.
const REQUESTS_MAX: usize = 1024;

/// How to ask the controller and see what it has decided.
pub(crate) struct ControllerHost {
    image: Arc<ArcSwap<Image>>,
    orders: mpsc::Sender<Order>,
}

pub(crate) struct Order {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Result<Reply, Error>>,
}

/// What a controller elsewhere has of a host: its image, and what it is asked.
#[cfg(test)]
pub(crate) struct Elsewhere {
    pub(crate) image: Arc<ArcSwap<Image>>,
    pub(crate) orders: mpsc::Receiver<Order>,
}

/// The side that works: taken by the task that runs it.
pub(crate) struct ControllerLoop {
    world: World,
    controller: Controller,
    partition: Arc<Partition>,
    image: Arc<ArcSwap<Image>>,
    orders: mpsc::Receiver<Order>,
}

/// Follows the image: opens, removes and configures what has changed from the first to the second.
pub(crate) type Follow = Box<dyn Fn(Arc<Image>, Arc<Image>) -> BoxFuture<'static, ()> + Send + Sync>;

impl ControllerHost {
    /// A host of `controller`, which has replayed what `partition` holds.
    pub(crate) fn new(
        world: World,
        controller: Controller,
        partition: Arc<Partition>,
    ) -> (Self, ControllerLoop) {
        let image = Arc::new(ArcSwap::from_pointee(controller.image().clone()));
        let (sender, orders) = mpsc::channel(REQUESTS_MAX);
        let host = Self { image: image.clone(), orders: sender };
        (host, ControllerLoop { world, controller, partition, image, orders })
    }

    /// A host without a controller.
    #[cfg(test)]
    pub(crate) fn elsewhere(image: Image) -> (Self, Elsewhere) {
        let image = Arc::new(ArcSwap::from_pointee(image));
        let (sender, orders) = mpsc::channel(REQUESTS_MAX);
        (Self { image: image.clone(), orders: sender }, Elsewhere { image, orders })
    }

    /// The newest committed image.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Asks, and waits until the decision is durable and followed.
    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, Error> {
        let gone = || Error::NotController("the controller has stopped; see the broker's log".into());
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order { request, reply }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl ControllerLoop {
    /// Replays the metadata log into a controller.
    pub(crate) async fn load(controller: &mut Controller, partition: &Partition) -> io::Result<()> {
        let mut offset = partition.start_offset();
        while let Some((next, records)) = partition.read_own(offset).await? {
            for record in records {
                let value = record.value.unwrap_or_default();
                controller.replay(metadata_records::decode(&value).map_err(io::Error::other)?);
                controller.image_mut().place(Position { offset: record.offset, epoch: 0 });
            }
            offset = next;
        }
        Ok(())
    }

    /// Works until the host is dropped or the log fails.
    pub(crate) async fn run(mut self, follow: Follow) {
        while let Some(order) = self.orders.recv().await {
            let now = Now { wall: self.world.clock.wall(), monotonic: self.world.clock.now() };
            let answer = match self.controller.handle(now, order.request) {
                Err(error) => Err(error),
                Ok(outcome) if outcome.records.is_empty() => Ok(outcome.reply),
                Ok(outcome) => match self.commit(now, outcome.records, &follow).await {
                    Ok(()) => Ok(outcome.reply),
                    Err(error) => {
                        tracing::error!(%error, "the metadata log failed; no metadata can change until a restart");
                        return;
                    }
                },
            };
            // Whoever asked may have gone.
            let _ = order.reply.send(answer);
        }
    }

    async fn commit(&mut self, now: Now, records: Vec<Record>, follow: &Follow) -> io::Result<()> {
        let mut builder = records::BatchBuilder::new();
        for record in &records {
            builder.push(now.wall, None, Some(&metadata_records::encode(record)), &[]);
        }
        let acks = Acks::new();
        acks.open(0);
        let appended = self.partition.append_own(now.wall, builder.build()?, acks.clone(), 0);
        let appended = appended.map_err(io::Error::other)?;
        if !acks.wait().await.is_empty() {
            return Err(io::Error::other("the records could not be made durable"));
        }
        let before = self.image.load_full();
        for record in records {
            self.controller.replay(record);
        }
        self.controller.image_mut().place(Position { offset: appended.last_offset, epoch: 0 });
        let after = Arc::new(self.controller.image().clone());
        self.image.store(after.clone());
        follow(before, after).await;
        Ok(())
    }
}
