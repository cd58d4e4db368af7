//! The coordinator as its host sees it: events in, replies, appends and wake-ups out.

mod chaos;
mod consumer_chaos;
mod consumers;
mod deleting;
mod desk;
mod expiring;
mod joining;
mod leaving;
mod loading;
mod migration;
mod migration_chaos;
mod nonsense;
mod offsets;
mod shares;
mod static_members;
mod streams;
mod streams_chaos;
mod syncing;
mod transactional;
