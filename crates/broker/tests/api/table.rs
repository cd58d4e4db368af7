//! Every API that is advertised, at every version from lowest to highest: a request that means something gets the
//! answer that Kafka gives. It also writes `docs/apis.md`, which therefore cannot be wrong about what is tested.

pub(crate) mod client_quotas;
mod cluster;
mod configs;
mod consumer_groups;
mod groups;
mod offsets;
mod partitions;
mod quorum;
mod records;
mod share;
mod streams;
mod telemetry;
mod topics;
mod transactions;

use env::BoxFuture;
use std::{collections::BTreeSet, fmt::Write, ops::RangeInclusive, path::Path};
use wire::{ApiKey, catalogue::Api};

/// One API.
struct Row {
    key: ApiKey,
    /// Where its versions come from, as far as the broker answers them.
    kips: &'static str,
    /// The check of one version.
    check: fn(i16) -> BoxFuture<'static, ()>,
    /// Its place.
    place: &'static str,
}

macro_rules! rows {
    ($($key:ident: $module:ident::$check:ident, $kips:literal;)*) => {
        const ROWS: &[Row] = &[$(Row {
            key: ApiKey::$key,
            kips: $kips,
            check: |version| Box::pin($module::$check(version)),
            place: concat!(stringify!($module), "::", stringify!($check)),
        }),*];

        /// One test for each row.
        mod every_version_of {
            $(#[tokio::test(start_paused = true)]
            async fn $check() {
                super::check_all(wire::ApiKey::$key).await;
            })*
        }
    };
}

rows! {
    Produce: records::produce, "98, 110, 467, 516, 890, 951";
    Fetch: records::fetch, "74, 98, 107, 110, 227, 320, 392, 405, 516, 853, 903, 951, 1166";
    ListOffsets: records::list_offsets, "79, 98, 320, 405, 734, 1005, 1023, 1075";
    Metadata: cluster::metadata, "4, 430, 516, 700";
    OffsetCommit: offsets::offset_commit, "211, 320, 345, 848";
    OffsetFetch: offsets::offset_fetch, "88, 320, 447, 709, 848";
    FindCoordinator: groups::find_coordinator, "98, 699, 890, 932";
    JoinGroup: groups::join_group, "62, 345, 394, 559, 800, 814";
    Heartbeat: groups::heartbeat, "345";
    LeaveGroup: groups::leave_group, "345, 800";
    SyncGroup: groups::sync_group, "345, 559";
    DescribeGroups: groups::describe_groups, "345, 430, 1043";
    ListGroups: groups::list_groups, "518, 848";
    ApiVersions: cluster::api_versions, "35, 511, 584, 1242";
    CreateTopics: topics::create_topics, "4, 464, 516, 525, 599";
    DeleteTopics: topics::delete_topics, "4, 516, 599";
    DeleteRecords: records::delete_records, "107";
    InitProducerId: records::init_producer_id, "98, 360, 588, 890";
    AddPartitionsToTxn: transactions::add_partitions_to_txn, "98, 890";
    AddOffsetsToTxn: transactions::add_offsets_to_txn, "98, 890";
    EndTxn: transactions::end_txn, "98, 588, 890";
    WriteTxnMarkers: transactions::write_txn_markers, "98, 664, 1228";
    TxnOffsetCommit: transactions::txn_offset_commit, "98, 320, 447, 848, 890";
    DescribeProducers: transactions::describe_producers, "664";
    DescribeTransactions: transactions::describe_transactions, "664";
    ListTransactions: transactions::list_transactions, "664, 994, 1152";
    OffsetForLeaderEpoch: records::offset_for_leader_epoch, "101, 279, 320";
    DescribeConfigs: configs::describe_configs, "133, 226, 569";
    AlterConfigs: configs::alter_configs, "133";
    AlterReplicaLogDirs: cluster::alter_replica_log_dirs, "113";
    DescribeLogDirs: cluster::describe_log_dirs, "113, 827, 1066";
    CreatePartitions: topics::create_partitions, "195, 599";
    DeleteGroups: groups::delete_groups, "229";
    IncrementalAlterConfigs: configs::incremental_alter_configs, "339";
    ElectLeaders: partitions::elect_leaders, "183, 460";
    AlterPartitionReassignments: partitions::alter_partition_reassignments, "455, 860";
    ListPartitionReassignments: partitions::list_partition_reassignments, "455";
    UnregisterBroker: partitions::unregister_broker, "631";
    UnregisterController: partitions::unregister_controller, "1312";
    OffsetDelete: offsets::offset_delete, "496";
    UpdateFeatures: cluster::update_features, "584, 1022";
    DescribeCluster: cluster::describe_cluster, "700, 919, 1073";
    DescribeClientQuotas: client_quotas::describe_client_quotas, "546";
    AlterClientQuotas: client_quotas::alter_client_quotas, "546";
    ConsumerGroupHeartbeat: consumer_groups::consumer_group_heartbeat, "848, 1082";
    ConsumerGroupDescribe: consumer_groups::consumer_group_describe, "848, 1099";
    GetTelemetrySubscriptions: telemetry::get_telemetry_subscriptions, "714";
    PushTelemetry: telemetry::push_telemetry, "714";
    ListConfigResources: configs::list_config_resources, "714, 1142";
    ShareGroupHeartbeat: share::share_group_heartbeat, "932";
    ShareGroupDescribe: share::share_group_describe, "932";
    ShareFetch: share::share_fetch, "932, 1206, 1222";
    ShareAcknowledge: share::share_acknowledge, "932, 1222";
    InitializeShareGroupState: share::initialize_share_group_state, "932";
    ReadShareGroupState: share::read_share_group_state, "932";
    WriteShareGroupState: share::write_share_group_state, "932, 1226";
    DeleteShareGroupState: share::delete_share_group_state, "932";
    ReadShareGroupStateSummary: share::read_share_group_state_summary, "932, 1226";
    DescribeShareGroupOffsets: share::describe_share_group_offsets, "932, 1226";
    AlterShareGroupOffsets: share::alter_share_group_offsets, "932";
    DeleteShareGroupOffsets: share::delete_share_group_offsets, "932";
    StreamsGroupHeartbeat: streams::streams_group_heartbeat, "1071, 1331";
    StreamsGroupDescribe: streams::streams_group_describe, "1071, 1331";
    StreamsGroupTopologyDescriptionUpdate: streams::streams_group_topology_description_update, "1331";
    DescribeTopicPartitions: cluster::describe_topic_partitions, "966";
    DescribeQuorum: quorum::describe_quorum, "595, 836, 853";
    AddRaftVoter: quorum::add_raft_voter, "853, 1186";
    RemoveRaftVoter: quorum::remove_raft_voter, "853";
}

fn versions(key: ApiKey) -> RangeInclusive<i16> {
    let api = Api::new(key).unwrap();
    api.min..=api.max
}

async fn check_all(key: ApiKey) {
    let row = ROWS.iter().find(|row| row.key == key).unwrap();
    for version in versions(key) {
        // The version is told where a check fails: a panic's message does not know it.
        let told = Told(key, version);
        (row.check)(version).await;
        std::mem::forget(told);
    }
}

/// Says, when a panic drops it, what was under test.
struct Told(ApiKey, i16);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("... while {:?} version {} was checked", self.0, self.1);
    }
}

#[test]
fn what_is_advertised_is_tested_and_nothing_else() {
    let advertised: BTreeSet<i16> = broker::dispatch::APIS.iter().map(|key| key.to_i16()).collect();
    let tested: BTreeSet<i16> = ROWS.iter().map(|row| row.key.to_i16()).collect();
    assert_eq!(advertised, tested);
    assert_eq!(ROWS.len(), broker::dispatch::APIS.len(), "an API twice");
}

#[test]
fn docs_name_every_api_version_and_test() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/apis.md");
    let text = docs();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/apis.md is out of date: UPDATE_DOCS=1 cargo test -p broker docs_name");
}

fn docs() -> String {
    let mut text = String::from(
        "# The APIs that are answered\n\n\
         Made from the list that ApiVersions advertises and from the table of tests in\n\
         `crates/broker/tests/api/table.rs`; `UPDATE_DOCS=1 cargo test -p broker docs_name` writes it. Each API is\n\
         tested at every version of its range. Produce is advertised from version 0 on, as Kafka does for the sake of\n\
         librdkafka, and answered from version 3 on.\n\n\
         | key | API | versions | KIPs | test |\n|---|---|---|---|---|\n",
    );
    let mut rows: Vec<_> = ROWS.iter().collect();
    rows.sort_by_key(|row| row.key.to_i16());
    for row in rows {
        let (key, versions) = (row.key, versions(row.key));
        let versions = format!("{}-{}", versions.start(), versions.end());
        writeln!(text, "| {} | {key:?} | {versions} | {} | `{}` |", key.to_i16(), row.kips, row.place)
            .unwrap();
    }
    text
}
