//! Every message that the `kafka-protocol` crate knows: it reads what ours writes, and writes the same bytes.
//!
//! Two independent readings of the schemas agree. The crate is never given bytes that ours did not write: it allocates
//! whatever a frame claims. LeaderChangeMessage and VotersRecord are left out: it refuses their versions in places
//! where Kafka's own classes (`tests/golden.rs`) have them.

use crate::{
    Message,
    random::{Random, Sample},
};
use kafka_protocol::{
    messages as theirs,
    protocol::{Decodable, Encodable, Message as Theirs},
};

fn check<Ours: Message + Sample, Other: Theirs + Decodable + Encodable>() -> usize {
    let mut checked = 0;
    for version in
        Ours::VERSIONS.filter(|version| (Other::VERSIONS.min..=Other::VERSIONS.max).contains(version))
    {
        for seed in 0..8 {
            let bytes = Ours::sample(&mut Random::new(seed), version).to_parts(version).unwrap();
            let bytes = bytes.to_bytes().unwrap();
            let what = format!("{} {version} seed {seed}", Ours::NAME);
            let mut rest = bytes.clone();
            let other = Other::decode(&mut rest, version).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(rest.is_empty(), "{what}: {} bytes are left", rest.len());
            let mut again = Vec::new();
            other.encode(&mut again, version).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(again, bytes, "{what}");
        }
        checked += 1;
    }
    checked
}

macro_rules! check_all {
    ($($ours:ty: $theirs:ident,)*) => {
        const CHECKS: &[fn() -> usize] = &[$(check::<$ours, theirs::$theirs>),*];
    };
}

check_all! {
    crate::AddOffsetsToTxnRequest: AddOffsetsToTxnRequest,
    crate::AddOffsetsToTxnResponse: AddOffsetsToTxnResponse,
    crate::AddPartitionsToTxnRequest: AddPartitionsToTxnRequest,
    crate::AddPartitionsToTxnResponse: AddPartitionsToTxnResponse,
    crate::AddRaftVoterRequest: AddRaftVoterRequest,
    crate::AddRaftVoterResponse: AddRaftVoterResponse,
    crate::AllocateProducerIdsRequest: AllocateProducerIdsRequest,
    crate::AllocateProducerIdsResponse: AllocateProducerIdsResponse,
    crate::AlterClientQuotasRequest: AlterClientQuotasRequest,
    crate::AlterClientQuotasResponse: AlterClientQuotasResponse,
    crate::AlterConfigsRequest: AlterConfigsRequest,
    crate::AlterConfigsResponse: AlterConfigsResponse,
    crate::AlterPartitionReassignmentsRequest: AlterPartitionReassignmentsRequest,
    crate::AlterPartitionReassignmentsResponse: AlterPartitionReassignmentsResponse,
    crate::AlterPartitionRequest: AlterPartitionRequest,
    crate::AlterPartitionResponse: AlterPartitionResponse,
    crate::AlterReplicaLogDirsRequest: AlterReplicaLogDirsRequest,
    crate::AlterReplicaLogDirsResponse: AlterReplicaLogDirsResponse,
    crate::AlterShareGroupOffsetsRequest: AlterShareGroupOffsetsRequest,
    crate::AlterShareGroupOffsetsResponse: AlterShareGroupOffsetsResponse,
    crate::AlterUserScramCredentialsRequest: AlterUserScramCredentialsRequest,
    crate::AlterUserScramCredentialsResponse: AlterUserScramCredentialsResponse,
    crate::ApiVersionsRequest: ApiVersionsRequest,
    crate::ApiVersionsResponse: ApiVersionsResponse,
    crate::AssignReplicasToDirsRequest: AssignReplicasToDirsRequest,
    crate::AssignReplicasToDirsResponse: AssignReplicasToDirsResponse,
    crate::BeginQuorumEpochRequest: BeginQuorumEpochRequest,
    crate::BeginQuorumEpochResponse: BeginQuorumEpochResponse,
    crate::BrokerHeartbeatRequest: BrokerHeartbeatRequest,
    crate::BrokerHeartbeatResponse: BrokerHeartbeatResponse,
    crate::BrokerRegistrationRequest: BrokerRegistrationRequest,
    crate::BrokerRegistrationResponse: BrokerRegistrationResponse,
    crate::ConsumerGroupDescribeRequest: ConsumerGroupDescribeRequest,
    crate::ConsumerGroupDescribeResponse: ConsumerGroupDescribeResponse,
    crate::ConsumerGroupHeartbeatRequest: ConsumerGroupHeartbeatRequest,
    crate::ConsumerGroupHeartbeatResponse: ConsumerGroupHeartbeatResponse,
    crate::record::ConsumerProtocolAssignment: ConsumerProtocolAssignment,
    crate::record::ConsumerProtocolSubscription: ConsumerProtocolSubscription,
    crate::ControllerRegistrationRequest: ControllerRegistrationRequest,
    crate::ControllerRegistrationResponse: ControllerRegistrationResponse,
    crate::CreateAclsRequest: CreateAclsRequest,
    crate::CreateAclsResponse: CreateAclsResponse,
    crate::CreateDelegationTokenRequest: CreateDelegationTokenRequest,
    crate::CreateDelegationTokenResponse: CreateDelegationTokenResponse,
    crate::CreatePartitionsRequest: CreatePartitionsRequest,
    crate::CreatePartitionsResponse: CreatePartitionsResponse,
    crate::CreateTopicsRequest: CreateTopicsRequest,
    crate::CreateTopicsResponse: CreateTopicsResponse,
    crate::record::DefaultPrincipalData: DefaultPrincipalData,
    crate::DeleteAclsRequest: DeleteAclsRequest,
    crate::DeleteAclsResponse: DeleteAclsResponse,
    crate::DeleteGroupsRequest: DeleteGroupsRequest,
    crate::DeleteGroupsResponse: DeleteGroupsResponse,
    crate::DeleteRecordsRequest: DeleteRecordsRequest,
    crate::DeleteRecordsResponse: DeleteRecordsResponse,
    crate::DeleteShareGroupOffsetsRequest: DeleteShareGroupOffsetsRequest,
    crate::DeleteShareGroupOffsetsResponse: DeleteShareGroupOffsetsResponse,
    crate::DeleteShareGroupStateRequest: DeleteShareGroupStateRequest,
    crate::DeleteShareGroupStateResponse: DeleteShareGroupStateResponse,
    crate::DeleteTopicsRequest: DeleteTopicsRequest,
    crate::DeleteTopicsResponse: DeleteTopicsResponse,
    crate::DescribeAclsRequest: DescribeAclsRequest,
    crate::DescribeAclsResponse: DescribeAclsResponse,
    crate::DescribeClientQuotasRequest: DescribeClientQuotasRequest,
    crate::DescribeClientQuotasResponse: DescribeClientQuotasResponse,
    crate::DescribeClusterRequest: DescribeClusterRequest,
    crate::DescribeClusterResponse: DescribeClusterResponse,
    crate::DescribeConfigsRequest: DescribeConfigsRequest,
    crate::DescribeConfigsResponse: DescribeConfigsResponse,
    crate::DescribeDelegationTokenRequest: DescribeDelegationTokenRequest,
    crate::DescribeDelegationTokenResponse: DescribeDelegationTokenResponse,
    crate::DescribeGroupsRequest: DescribeGroupsRequest,
    crate::DescribeGroupsResponse: DescribeGroupsResponse,
    crate::DescribeLogDirsRequest: DescribeLogDirsRequest,
    crate::DescribeLogDirsResponse: DescribeLogDirsResponse,
    crate::DescribeProducersRequest: DescribeProducersRequest,
    crate::DescribeProducersResponse: DescribeProducersResponse,
    crate::DescribeQuorumRequest: DescribeQuorumRequest,
    crate::DescribeQuorumResponse: DescribeQuorumResponse,
    crate::DescribeShareGroupOffsetsRequest: DescribeShareGroupOffsetsRequest,
    crate::DescribeShareGroupOffsetsResponse: DescribeShareGroupOffsetsResponse,
    crate::DescribeTopicPartitionsRequest: DescribeTopicPartitionsRequest,
    crate::DescribeTopicPartitionsResponse: DescribeTopicPartitionsResponse,
    crate::DescribeTransactionsRequest: DescribeTransactionsRequest,
    crate::DescribeTransactionsResponse: DescribeTransactionsResponse,
    crate::DescribeUserScramCredentialsRequest: DescribeUserScramCredentialsRequest,
    crate::DescribeUserScramCredentialsResponse: DescribeUserScramCredentialsResponse,
    crate::ElectLeadersRequest: ElectLeadersRequest,
    crate::ElectLeadersResponse: ElectLeadersResponse,
    crate::EndQuorumEpochRequest: EndQuorumEpochRequest,
    crate::EndQuorumEpochResponse: EndQuorumEpochResponse,
    crate::record::EndTxnMarker: EndTxnMarker,
    crate::EndTxnRequest: EndTxnRequest,
    crate::EndTxnResponse: EndTxnResponse,
    crate::EnvelopeRequest: EnvelopeRequest,
    crate::EnvelopeResponse: EnvelopeResponse,
    crate::ExpireDelegationTokenRequest: ExpireDelegationTokenRequest,
    crate::ExpireDelegationTokenResponse: ExpireDelegationTokenResponse,
    crate::FetchRequest: FetchRequest,
    crate::FetchResponse: FetchResponse,
    crate::FetchSnapshotRequest: FetchSnapshotRequest,
    crate::FetchSnapshotResponse: FetchSnapshotResponse,
    crate::FindCoordinatorRequest: FindCoordinatorRequest,
    crate::FindCoordinatorResponse: FindCoordinatorResponse,
    crate::GetTelemetrySubscriptionsRequest: GetTelemetrySubscriptionsRequest,
    crate::GetTelemetrySubscriptionsResponse: GetTelemetrySubscriptionsResponse,
    crate::HeartbeatRequest: HeartbeatRequest,
    crate::HeartbeatResponse: HeartbeatResponse,
    crate::IncrementalAlterConfigsRequest: IncrementalAlterConfigsRequest,
    crate::IncrementalAlterConfigsResponse: IncrementalAlterConfigsResponse,
    crate::InitProducerIdRequest: InitProducerIdRequest,
    crate::InitProducerIdResponse: InitProducerIdResponse,
    crate::InitializeShareGroupStateRequest: InitializeShareGroupStateRequest,
    crate::InitializeShareGroupStateResponse: InitializeShareGroupStateResponse,
    crate::JoinGroupRequest: JoinGroupRequest,
    crate::JoinGroupResponse: JoinGroupResponse,
    crate::record::KraftVersionRecord: KRaftVersionRecord,
    crate::LeaveGroupRequest: LeaveGroupRequest,
    crate::LeaveGroupResponse: LeaveGroupResponse,
    crate::ListConfigResourcesRequest: ListConfigResourcesRequest,
    crate::ListConfigResourcesResponse: ListConfigResourcesResponse,
    crate::ListGroupsRequest: ListGroupsRequest,
    crate::ListGroupsResponse: ListGroupsResponse,
    crate::ListOffsetsRequest: ListOffsetsRequest,
    crate::ListOffsetsResponse: ListOffsetsResponse,
    crate::ListPartitionReassignmentsRequest: ListPartitionReassignmentsRequest,
    crate::ListPartitionReassignmentsResponse: ListPartitionReassignmentsResponse,
    crate::ListTransactionsRequest: ListTransactionsRequest,
    crate::ListTransactionsResponse: ListTransactionsResponse,
    crate::MetadataRequest: MetadataRequest,
    crate::MetadataResponse: MetadataResponse,
    crate::OffsetCommitRequest: OffsetCommitRequest,
    crate::OffsetCommitResponse: OffsetCommitResponse,
    crate::OffsetDeleteRequest: OffsetDeleteRequest,
    crate::OffsetDeleteResponse: OffsetDeleteResponse,
    crate::OffsetFetchRequest: OffsetFetchRequest,
    crate::OffsetFetchResponse: OffsetFetchResponse,
    crate::OffsetForLeaderEpochRequest: OffsetForLeaderEpochRequest,
    crate::OffsetForLeaderEpochResponse: OffsetForLeaderEpochResponse,
    crate::ProduceRequest: ProduceRequest,
    crate::ProduceResponse: ProduceResponse,
    crate::PushTelemetryRequest: PushTelemetryRequest,
    crate::PushTelemetryResponse: PushTelemetryResponse,
    crate::ReadShareGroupStateRequest: ReadShareGroupStateRequest,
    crate::ReadShareGroupStateResponse: ReadShareGroupStateResponse,
    crate::ReadShareGroupStateSummaryRequest: ReadShareGroupStateSummaryRequest,
    crate::ReadShareGroupStateSummaryResponse: ReadShareGroupStateSummaryResponse,
    crate::RemoveRaftVoterRequest: RemoveRaftVoterRequest,
    crate::RemoveRaftVoterResponse: RemoveRaftVoterResponse,
    crate::RenewDelegationTokenRequest: RenewDelegationTokenRequest,
    crate::RenewDelegationTokenResponse: RenewDelegationTokenResponse,
    crate::RequestHeader: RequestHeader,
    crate::ResponseHeader: ResponseHeader,
    crate::SaslAuthenticateRequest: SaslAuthenticateRequest,
    crate::SaslAuthenticateResponse: SaslAuthenticateResponse,
    crate::SaslHandshakeRequest: SaslHandshakeRequest,
    crate::SaslHandshakeResponse: SaslHandshakeResponse,
    crate::ShareAcknowledgeRequest: ShareAcknowledgeRequest,
    crate::ShareAcknowledgeResponse: ShareAcknowledgeResponse,
    crate::ShareFetchRequest: ShareFetchRequest,
    crate::ShareFetchResponse: ShareFetchResponse,
    crate::ShareGroupDescribeRequest: ShareGroupDescribeRequest,
    crate::ShareGroupDescribeResponse: ShareGroupDescribeResponse,
    crate::ShareGroupHeartbeatRequest: ShareGroupHeartbeatRequest,
    crate::ShareGroupHeartbeatResponse: ShareGroupHeartbeatResponse,
    crate::record::SnapshotFooterRecord: SnapshotFooterRecord,
    crate::record::SnapshotHeaderRecord: SnapshotHeaderRecord,
    crate::SyncGroupRequest: SyncGroupRequest,
    crate::SyncGroupResponse: SyncGroupResponse,
    crate::TxnOffsetCommitRequest: TxnOffsetCommitRequest,
    crate::TxnOffsetCommitResponse: TxnOffsetCommitResponse,
    crate::UnregisterBrokerRequest: UnregisterBrokerRequest,
    crate::UnregisterBrokerResponse: UnregisterBrokerResponse,
    crate::UpdateFeaturesRequest: UpdateFeaturesRequest,
    crate::UpdateFeaturesResponse: UpdateFeaturesResponse,
    crate::UpdateRaftVoterRequest: UpdateRaftVoterRequest,
    crate::UpdateRaftVoterResponse: UpdateRaftVoterResponse,
    crate::VoteRequest: VoteRequest,
    crate::VoteResponse: VoteResponse,
    crate::WriteShareGroupStateRequest: WriteShareGroupStateRequest,
    crate::WriteShareGroupStateResponse: WriteShareGroupStateResponse,
    crate::WriteTxnMarkersRequest: WriteTxnMarkersRequest,
    crate::WriteTxnMarkersResponse: WriteTxnMarkersResponse,
}

#[test]
fn an_independent_codec_reads_and_writes_the_same_bytes() {
    let checked: usize = CHECKS.iter().map(|check| check()).sum();
    assert!(checked > 400, "only {checked} versions were compared");
}
