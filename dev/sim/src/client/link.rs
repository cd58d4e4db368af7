//! A client's connection: frames out, frames in, answers in the order of the requests. It retries nothing and hides
//! nothing: whatever goes wrong ends it.

use super::Ground;
use crate::{
    dice::Dice,
    node::Node,
    world::{Clocked, SimClock, SimConnection},
};
use bytes::{Buf, Bytes, BytesMut};
use env::Connection;
use std::{collections::VecDeque, sync::Arc};
use wire::{ApiKey, ApiVersionsRequest, Decoder, Message, Request, frame, header};

/// One connection.
pub struct Link {
    /// Whom it leads to.
    pub node: i32,
    /// The leader epoch for which it was opened; -1 if for none.
    pub leader_epoch: i32,
    patience_ms: u64,
    connection: SimConnection,
    buffer: BytesMut,
    clock: Arc<SimClock>,
    history: Arc<crate::history::History>,
    name: String,
    correlation: i32,
    waiting: VecDeque<(i32, ApiKey, i16)>,
}

/// The connection is of no use any more; what was asked may have happened or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

const FRAME_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 16 * 1024;

impl Link {
    /// Connects and greets.
    pub async fn open(ground: &Ground, node: &Node, name: &str, dice: &mut Dice) -> Result<Self, Lost> {
        let connecting = node.connect().within(&ground.clock, ground.patience_ms);
        let connection = connecting.await.map_err(|_| Lost)?.ok_or(Lost)?;
        let mut link = Self {
            node: node.id,
            leader_epoch: -1,
            patience_ms: ground.patience_ms,
            connection,
            buffer: BytesMut::new(),
            clock: ground.clock.clone(),
            history: ground.history.clone(),
            name: name.to_owned(),
            correlation: dice.below(1000) as i32,
            waiting: VecDeque::new(),
        };
        let hello = ApiVersionsRequest {
            client_software_name: "sim".into(),
            client_software_version: "1".into(),
            ..Default::default()
        };
        let answer = link.ask(dice.range(0..=4) as i16, &hello).await?;
        if answer.error_code == 0 && !answer.api_keys.is_empty() { Ok(link) } else { Err(Lost) }
    }

    /// Whether requests that are under way still arrive when this end goes away.
    pub fn set_lingers(&mut self, lingers: bool) {
        self.connection.set_lingers(lingers);
    }

    /// Sends a request without waiting for its answer.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<(), Lost> {
        self.send_silently(version, request).await?;
        self.waiting.push_back((self.correlation, R::KEY, version));
        Ok(())
    }

    /// Sends a request that has no answer.
    pub async fn send_silently<R: Request>(&mut self, version: i16, request: &R) -> Result<(), Lost> {
        self.correlation += 1;
        let frame = header::encode_request(self.correlation, Some(&self.name), version, request);
        let frame = frame.map_err(|error| self.broken(format!("{:?} version {version}: {error}", R::KEY)))?;
        self.connection.write(frame).await.map_err(|_| Lost)
    }

    /// The answer to the oldest request that has none yet.
    pub async fn receive<M: Message>(&mut self) -> Result<M, Lost> {
        let clock = self.clock.clone();
        let patience_ms = self.patience_ms;
        let frame = self.frame().within(&clock, patience_ms).await.map_err(|_| Lost)??;
        let Some((correlation, api, version)) = self.waiting.pop_front() else { return Err(Lost) };
        let mut decoder = Decoder::with_default_budget(frame);
        let head = header::decode_response(&mut decoder, api, version);
        let head = head.map_err(|error| self.broken(format!("the header of {api:?}: {error}")))?;
        if head.correlation_id != correlation {
            return Err(self.broken(format!("answer {} where {correlation} is due", head.correlation_id)));
        }
        let body = M::decode(&mut decoder, version);
        let body = body.map_err(|error| self.broken(format!("{} version {version}: {error}", M::NAME)))?;
        match decoder.remaining() {
            0 => Ok(body),
            more => Err(self.broken(format!("{} version {version} is followed by {more} bytes", M::NAME))),
        }
    }

    /// Sends a request and waits for its answer.
    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, Lost> {
        self.send(version, request).await?;
        self.receive().await
    }

    /// Waits before the next request.
    pub async fn pause_ms(&self, millis: u64) {
        self.clock.sleep_ms(millis).await;
    }

    async fn frame(&mut self) -> Result<Bytes, Lost> {
        loop {
            let needed = frame::needed(&self.buffer, FRAME_BYTES_MAX);
            let needed = needed.map_err(|error| self.broken(error.to_string()))?;
            if let Some(len) = needed.filter(|len| *len <= self.buffer.len()) {
                let mut frame = self.buffer.split_to(len);
                frame.advance(frame::PREFIX_BYTES);
                return Ok(frame.freeze());
            }
            self.buffer.reserve(READ_BYTES);
            match self.connection.read(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Lost),
                Ok(_) => {}
            }
        }
    }

    /// The broker has sent what no broker may send.
    fn broken(&self, what: String) -> Lost {
        self.history.violated("protocol", format!("{}: {what}", self.name));
        Lost
    }
}
