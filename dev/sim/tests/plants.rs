//! Every check has teeth: for each bug that is planted one of the first seeds ends with a violation of the check that
//! docs/invariants.md names.

use sim::{Keep, Options, Plant};

/// Some bugs need a certain trouble to show.
const SEEDS: u64 = 40;

#[track_caller]
fn check(plant: Plant, expected: &'static str) {
    let options =
        Options { nodes: 1, draw: false, keep: Keep::Recent, plant: Some(plant), only: Some(expected) };
    let is_found = |seed| sim::run(seed, options).is_ok_and(|report| !report.violations.is_empty());
    assert!((1..=SEEDS).any(is_found), "{plant:?} was not found by {expected} in {SEEDS} seeds");
}

#[test]
fn records_that_are_acknowledged_before_they_are_durable_are_missed() {
    check(Plant::SyncIgnored, "acknowledged");
}

#[test]
fn offsets_that_are_not_those_of_the_records_are_noticed() {
    check(Plant::AckShifted, "high_watermark");
}

#[test]
fn a_record_that_is_there_twice_is_noticed() {
    check(Plant::BatchRepeated, "idempotence");
}

#[test]
fn a_refused_batch_that_is_said_to_be_there_is_missed() {
    check(Plant::RefusalHidden, "known_already");
}

#[test]
fn a_hole_is_noticed() {
    check(Plant::OffsetSkipped, "dense_offsets");
}

#[test]
fn a_high_watermark_that_goes_back_is_noticed() {
    check(Plant::HighWatermarkOld, "high_watermark");
}

#[test]
fn two_owners_of_a_partition_are_noticed() {
    check(Plant::AssignmentDoubled, "assignments");
}

#[test]
fn two_owners_of_what_a_coordinator_shares_out_are_noticed() {
    check(Plant::OwnerDoubled, "owners");
}

#[test]
fn a_value_that_nobody_sent_is_noticed() {
    check(Plant::ValueInvented, "no_invention");
}

#[test]
fn bytes_that_change_on_their_way_are_noticed() {
    check(Plant::ReadCorrupted, "no_invention");
}

#[test]
fn an_offset_with_a_second_value_is_noticed() {
    check(Plant::ValueChanged, "one_value");
}

#[test]
fn compaction_that_takes_the_last_record_of_a_key_is_noticed() {
    check(Plant::CompactionForgetsLast, "acknowledged");
}

#[test]
fn a_forgotten_commit_is_noticed() {
    check(Plant::CommitForgotten, "group_offsets");
}

#[test]
fn commits_that_are_not_durable_are_missed() {
    check(Plant::OffsetsUnsynced, "group_offsets");
}

#[test]
fn metadata_that_is_not_durable_is_missed() {
    check(Plant::MetadataUnsynced, "topics");
}

#[test]
fn names_that_are_not_durable_are_missed() {
    check(Plant::DirSyncIgnored, "group_offsets");
}

#[test]
fn a_write_that_is_dropped_is_noticed() {
    check(Plant::WriteDropped, "one_value");
}

#[test]
fn a_sync_after_a_failed_one_is_noticed() {
    check(Plant::SyncRetried, "failed_syncs");
}

#[test]
fn records_of_aborted_transactions_are_noticed() {
    check(Plant::AbortHidden, "transactions");
}

#[test]
fn half_a_transaction_is_noticed() {
    check(Plant::MarkerLost, "transactions");
}

#[test]
fn committed_records_out_of_order_are_noticed() {
    check(Plant::CommitsSwapped, "transactions");
}

#[test]
fn acknowledgements_of_shares_that_are_not_durable_are_missed() {
    check(Plant::SharesUnsynced, "shares");
}

#[test]
fn a_record_that_two_members_of_a_share_group_have_is_noticed() {
    check(Plant::ShareDoubled, "shares");
}

#[test]
fn a_delivery_count_that_goes_back_is_noticed() {
    check(Plant::ShareCountForgotten, "shares");
}

#[test]
fn a_dead_letter_that_is_not_there_is_missed() {
    check(Plant::LetterLost, "shares");
}

#[test]
fn a_record_that_a_share_group_passed_over_is_noticed() {
    check(Plant::SharePassedOver, "shares");
}

#[test]
fn a_record_that_is_not_found_by_its_key_is_missed() {
    check(Plant::PostingForgotten, "keys");
}

#[test]
fn a_fenced_producer_that_is_obeyed_is_noticed() {
    check(Plant::ZombieObeyed, "transactions");
}
