//! The Raft library's channels over tokio's, which need no runtime, and our `watch`. Nothing is decided
//! here.

use crate::watch::{Watched, Watching, watch};
use openraft::{
    OptionalSend, OptionalSync,
    async_runtime::{
        Mpsc, MpscReceiver, MpscSender, MpscWeakSender, Mutex, Oneshot, OneshotSender, RecvError, SendError,
        TryRecvError, Watch, WatchReceiver, WatchSender, watch as raft_watch,
    },
};
use parking_lot::RwLockReadGuard;
use std::future::Future;
use tokio::sync::{mpsc, oneshot};

/// Bounded queues.
pub(crate) struct EnvMpsc;
pub(crate) struct Sender<T>(mpsc::Sender<T>);
pub(crate) struct Receiver<T>(mpsc::Receiver<T>);
pub(crate) struct WeakSender<T>(mpsc::WeakSender<T>);

/// The newest value of something.
pub(crate) struct EnvWatch;

/// One value.
pub(crate) struct EnvOneshot;
pub(crate) struct Once<T>(oneshot::Sender<T>);

/// A lock that may be held while waiting.
pub(crate) struct EnvMutex<T>(tokio::sync::Mutex<T>);

impl Mpsc for EnvMpsc {
    type Sender<T: OptionalSend> = Sender<T>;
    type Receiver<T: OptionalSend> = Receiver<T>;
    type WeakSender<T: OptionalSend> = WeakSender<T>;

    fn channel<T: OptionalSend>(buffer: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = mpsc::channel(buffer);
        (Sender(sender), Receiver(receiver))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: OptionalSend> MpscSender<EnvMpsc, T> for Sender<T> {
    async fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0.send(message).await.map_err(|error| SendError(error.0))
    }

    fn downgrade(&self) -> WeakSender<T> {
        WeakSender(self.0.downgrade())
    }
}

impl<T: OptionalSend> MpscReceiver<T> for Receiver<T> {
    fn recv(&mut self) -> impl Future<Output = Option<T>> + OptionalSend {
        self.0.recv()
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_recv().map_err(|error| match error {
            mpsc::error::TryRecvError::Empty => TryRecvError::Empty,
            mpsc::error::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }
}

impl<T: OptionalSend> MpscWeakSender<EnvMpsc, T> for WeakSender<T> {
    fn upgrade(&self) -> Option<Sender<T>> {
        self.0.upgrade().map(Sender)
    }
}

impl Watch for EnvWatch {
    type Sender<T: OptionalSend + OptionalSync> = Watched<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Watching<T>;
    type Ref<'a, T: OptionalSend + 'a> = RwLockReadGuard<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(first: T) -> (Watched<T>, Watching<T>) {
        watch(first)
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<EnvWatch, T> for Watched<T> {
    fn send(&self, value: T) -> Result<(), raft_watch::SendError<T>> {
        Self::send(self, value);
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        Self::send_if_modified(self, modify)
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.borrow()
    }

    fn subscribe(&self) -> Watching<T> {
        Self::subscribe(self)
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<EnvWatch, T> for Watching<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        Self::changed(self).await.map_err(|_| RecvError(()))
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.borrow()
    }

    fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        Self::borrow_and_update(self)
    }
}

impl Oneshot for EnvOneshot {
    type Sender<T: OptionalSend> = Once<T>;
    type Receiver<T: OptionalSend> = oneshot::Receiver<T>;
    type ReceiverError = oneshot::error::RecvError;

    fn channel<T: OptionalSend>() -> (Once<T>, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Once(sender), receiver)
    }
}

impl<T: OptionalSend> OneshotSender<T> for Once<T> {
    fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }
}

impl<T: OptionalSend + 'static> Mutex<T> for EnvMutex<T> {
    type Guard<'a> = tokio::sync::MutexGuard<'a, T>;

    fn new(value: T) -> Self {
        Self(tokio::sync::Mutex::new(value))
    }

    fn lock(&self) -> impl Future<Output = Self::Guard<'_>> + OptionalSend {
        self.0.lock()
    }
}
