//! Reading a request's body: no larger than it may be, within one budget for all that are large, and not slower than it must be.
//!
//! It knows nothing of what the bytes mean.

use bytes::{Bytes, BytesMut};
use env::Clock;
use gateway::Place;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use shares::{Part, Shares};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

mod shares;

/// What all bodies that are larger than [`SMALL_BYTES`] may take together.
const BUDGET_BYTES: usize = 64 << 20;
/// Bodies up to this size are bounded by the number of connections.
const SMALL_BYTES: usize = 16 * 1024;
/// A body has so long, ...
const READ_MS_MAX: i64 = 30_000;
/// ... and a second more for so many of its bytes.
const BYTES_PER_SECOND_MIN: usize = 4096;
/// What is passed over of a body that is not wanted.
const PASSED_BYTES_MAX: usize = 32 << 20;
const PASSED_MS_MAX: i64 = 10_000;
/// How long one waits for a share of the budget.
const ROOM_MS_MAX: i64 = 5_000;

/// See the head of the file.
pub(super) struct Budget {
    all: Arc<Semaphore>,
    shares: Shares,
}

/// A part of the budget, until the body is done with.
pub(super) type Room = Option<(Option<Part>, OwnedSemaphorePermit)>;

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge(usize),
    TooSlow,
    Broken,
    NoRoom,
    /// The address has all that it may have.
    NoShare,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(BUDGET_BYTES)), shares: Shares::default() }
    }

    /// A whole body of at most `bytes_max` bytes; 0: it means nothing, and is not read. `place`: who sends it, if that is counted.
    pub(super) async fn read(
        &self,
        body: &mut Incoming,
        bytes_max: usize,
        place: Option<Place>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Bytes, Room), Unread> {
        if bytes_max == 0 || body.is_end_stream() {
            return Ok((Bytes::new(), None));
        }
        let told = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if told.is_some_and(|bytes| bytes > bytes_max) {
            return Err(Unread::TooLarge(bytes_max));
        }
        let expected = told.unwrap_or(bytes_max).min(bytes_max);
        let seconds = i64::try_from(expected / BYTES_PER_SECOND_MIN).unwrap_or(0);
        let deadline = clock.after_millis(READ_MS_MAX + seconds * 1000);
        let room = self.room(expected, place, clock).await?;
        let mut read = BytesMut::with_capacity(told.unwrap_or(0).min(SMALL_BYTES));
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = clock.sleep_until(deadline) => return Err(Unread::TooSlow),
            };
            let Some(frame) = frame else { return Ok((read.freeze(), room)) };
            let frame = frame.map_err(|_| Unread::Broken)?;
            let Ok(data) = frame.into_data() else { continue };
            if read.len() + data.len() > bytes_max {
                return Err(Unread::TooLarge(bytes_max));
            }
            read.extend_from_slice(&data);
        }
    }

    /// Passes a body over that is not wanted, if that is soon done: who is still sending when the connection ends never sees the
    /// answer. Whether nothing of it is left.
    pub(super) async fn pass_over(mut body: Incoming, clock: &Arc<dyn Clock>) -> bool {
        let (deadline, mut left) = (clock.after_millis(PASSED_MS_MAX), PASSED_BYTES_MAX);
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = clock.sleep_until(deadline) => return false,
            };
            let Some(frame) = frame else { return true };
            let length = frame.ok().and_then(|frame| frame.data_ref().map(Bytes::len));
            match length.and_then(|length| left.checked_sub(length)) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
    }

    /// Room for so many bytes.
    pub(super) async fn room(
        &self,
        bytes: usize,
        place: Option<Place>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Room, Unread> {
        if bytes <= SMALL_BYTES {
            return Ok(None);
        }
        let over = clock.after_millis(ROOM_MS_MAX);
        let part = match place {
            None => None,
            Some(place) => tokio::select! {
                biased;
                part = self.shares.part(place, bytes) => Some(part.ok_or(Unread::NoShare)?),
                () = clock.sleep_until(over) => return Err(Unread::NoShare),
            },
        };
        let share = u32::try_from(bytes.min(BUDGET_BYTES)).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            room = self.all.clone().acquire_many_owned(share) => {
                room.map(|room| Some((part, room))).map_err(|_| Unread::NoRoom)
            }
            () = clock.sleep_until(over) => Err(Unread::NoRoom),
        }
    }
}
