//! Other nodes, as `gateway` asks them for the streams that they have.

use super::forward::{self, Passing};
use bytes::Bytes;
use env::{BoxFuture, Clock};
use gateway::{Asked, Peers, Reach, Rest};
use http_body_util::BodyExt;
use hyper::{Request, Response};
use std::{io, sync::Arc};

/// See the head of the file.
pub(super) struct Others(pub(super) Arc<dyn Clock>);

impl Peers for Others {
    fn ask(&self, reach: Reach, request: Request<Bytes>) -> BoxFuture<'static, Asked> {
        let clock = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let (head, rest) = forward::forward(&reach, &head, &body, &clock).await?.into_parts();
            Ok((Response::from_parts(head, ()), Box::new(rest) as Box<dyn Rest>))
        })
    }
}

impl Rest for Passing {
    fn next(&mut self) -> BoxFuture<'_, Option<io::Result<Bytes>>> {
        Box::pin(async move {
            loop {
                match self.frame().await?.map(hyper::body::Frame::into_data) {
                    Ok(Ok(bytes)) => return Some(Ok(bytes)),
                    // What is no data says nothing here.
                    Ok(Err(_)) => {}
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }
}
