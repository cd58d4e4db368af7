//! Answering what the other controllers ask.
//!
//! A message of another cluster, or for a replica that had this address before, is refused: its votes do not count.

use crate::{
    checkpoint::{Checkpoint, SnapshotId},
    peer_message::{Answer, Chunk, Request},
    raft_quorum::Inner,
    runtime::on_lane,
    state_machine::Snapshot,
    type_config::{SnapshotMeta, TypeConfig},
};
use bytes::Bytes;
use env::{File, Open};
use openraft::{async_runtime::WatchReceiver, errors::RaftError, raft::TransferLeaderResponse};
use std::{
    io::{self, IoSlice},
    sync::Arc,
};

/// A snapshot of which some parts have come.
pub(super) struct Receiving {
    id: SnapshotId,
    size: u64,
    position: u64,
    file: Arc<dyn File>,
}

pub(super) async fn serve(inner: &Inner, request: Bytes) -> Bytes {
    let answer = match Request::decode(&request) {
        Err(error) => Err(format!("the message cannot be read: {error}")),
        Ok((envelope, _)) if envelope.cluster_id != inner.config.cluster_id => {
            Err(format!("this is cluster {}, not {}", inner.config.cluster_id, envelope.cluster_id))
        }
        Ok((envelope, _)) if envelope.to != inner.config.replica => {
            Err(format!("this is replica {}, not {}", inner.config.replica, envelope.to))
        }
        Ok((_, request)) => answer(inner, request).await,
    };
    answer.unwrap_or_else(Answer::Refused).encode()
}

async fn answer(inner: &Inner, request: Request) -> Result<Answer, String> {
    let told = |error: RaftError<TypeConfig>| error.to_string();
    Ok(match request {
        Request::Vote(request) => Answer::Vote(inner.raft.vote(request).await.map_err(told)?),
        Request::PreVote(request) => Answer::Vote(inner.raft.pre_vote(request).await.map_err(told)?),
        Request::Append(request) => Answer::Append(inner.raft.append_entries(request).await.map_err(told)?),
        Request::Transfer(request) => {
            let done: TransferLeaderResponse<TypeConfig> =
                inner.raft.handle_transfer_leader(request).await.map_err(|error| error.to_string())?;
            Answer::Transfer(done)
        }
        Request::Snapshot(chunk) => on_chunk(inner, chunk).await.map_err(|error| error.to_string())?,
    })
}

async fn on_chunk(inner: &Inner, chunk: Chunk) -> io::Result<Answer> {
    let mine = inner.raft.metrics().borrow_watched().vote;
    if mine.leader_id.term > chunk.vote.leader_id.term {
        return Ok(Answer::Snapshot { vote: mine, next_position: 0 });
    }
    let mut receiving = inner.receiving.lock().await;
    let (disk, dir) = (inner.world.disk.clone(), inner.config.dir.clone());
    let mut parts = match receiving.take() {
        Some(parts) if (parts.id, parts.size, parts.position) == (chunk.id, chunk.size, chunk.position) => {
            parts
        }
        _ if chunk.position == 0 => {
            let path = dir.join(chunk.id.part_name());
            let opened = on_lane(&inner.world, {
                let disk = disk.clone();
                move || disk.open(&path, Open::Create).and_then(|file| file.set_len(0).map(|()| file))
            });
            Receiving { id: chunk.id, size: chunk.size, position: 0, file: opened.await?? }
        }
        _ => return Ok(Answer::Snapshot { vote: chunk.vote, next_position: 0 }),
    };
    let end = parts.position + chunk.bytes.len() as u64;
    let (file, at, complete) = (parts.file.clone(), parts.position, end == chunk.size);
    on_lane(&inner.world, move || {
        file.write_at(&[IoSlice::new(&chunk.bytes)], at)?;
        if complete { file.sync_data() } else { Ok(()) }
    })
    .await??;
    parts.position = end;
    if !complete {
        *receiving = Some(parts);
        return Ok(Answer::Snapshot { vote: chunk.vote, next_position: end });
    }
    let id = parts.id;
    let checkpoint = on_lane(&inner.world, move || Checkpoint::received(&*disk, &dir, id)).await??;
    let head = checkpoint.head();
    let meta = SnapshotMeta { last_log_id: Some(head.last), last_membership: head.membership.clone() };
    let snapshot = Snapshot { meta, snapshot: Arc::new(checkpoint) };
    let installed = inner.raft.install_full_snapshot(chunk.vote, snapshot).await;
    let vote = installed.map_err(|fatal| io::Error::other(fatal.to_string()))?.vote;
    Ok(Answer::Snapshot { vote, next_position: end })
}
