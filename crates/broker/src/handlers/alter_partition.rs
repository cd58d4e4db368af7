//! AlterPartition (key 56): a leader asks the active controller for other in-sync replicas (KIP-497, KIP-704, KIP-841,
//! KIP-903). It translates in both directions, for this broker asks as well as answers.
//!
//! It decides nothing: `replica` wishes, `metadata` grants, `isr_changes` asks.

use super::controller_error;
use crate::{Broker, context::Context, failure_code, isr_changes::IsrAnswers};
use metadata::{AlterPartition, AlteredPartition, Error, IsrChange, Recovery, Reply, Request};
use model::{NodeId, TopicId};
use std::sync::Arc;
use wire::{
    AlterPartitionRequest, AlterPartitionResponse,
    alter_partition_request::{BrokerState, PartitionData, TopicData},
    alter_partition_response::{PartitionData as Answer, TopicData as TopicAnswer},
};

/// From this version on each member of the ISR comes with the epoch of its registration.
const VERSION_WITH_EPOCHS: i16 = 3;
/// An epoch that is not checked.
const EPOCH_UNKNOWN: i64 = -1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: AlterPartitionRequest,
) -> AlterPartitionResponse {
    let mut partitions = Vec::new();
    // What cannot even be asked; the others are answered by the controller in their order.
    let mut answers: IsrAnswers = Vec::new();
    for topic in request.topics {
        for partition in topic.partitions {
            let index = partition.partition_index;
            match change(context, topic.topic_id, partition) {
                Ok(change) => partitions.push(change),
                Err(error) => answers.push((topic.topic_id, index, Err(error))),
            }
        }
    }
    let request =
        AlterPartition { broker: request.broker_id, broker_epoch: request.broker_epoch, partitions };
    match broker.controller.ask_for_another(Request::AlterPartition(request)).await {
        Ok(Reply::AlterPartition(altered)) => {
            answers.extend(altered);
            response(answers)
        }
        other => AlterPartitionResponse {
            error_code: failure_code::of_controller(&controller_error(other)).to_i16(),
            ..AlterPartitionResponse::default()
        },
    }
}

fn change(context: &Context, topic: TopicId, wanted: PartitionData) -> Result<IsrChange, Error> {
    let isr = match context.version >= VERSION_WITH_EPOCHS {
        true => wanted.new_isr_with_epochs.iter().map(|one| (one.broker_id, one.broker_epoch)).collect(),
        false => wanted.new_isr.iter().map(|id| (*id, EPOCH_UNKNOWN)).collect(),
    };
    Ok(IsrChange {
        topic,
        index: wanted.partition_index,
        leader_epoch: wanted.leader_epoch,
        partition_epoch: wanted.partition_epoch,
        isr,
        recovery: recovery(wanted.leader_recovery_state)?,
    })
}

fn recovery(state: i8) -> Result<Recovery, Error> {
    match state {
        0 => Ok(Recovery::Recovered),
        1 => Ok(Recovery::Recovering),
        other => Err(Error::InvalidRequest(format!("There is no leader recovery state {other}."))),
    }
}

fn response(answers: IsrAnswers) -> AlterPartitionResponse {
    let mut topics: Vec<TopicAnswer> = Vec::new();
    for (topic_id, index, answer) in answers {
        let answer = match answer {
            Ok(altered) => Answer {
                partition_index: index,
                error_code: failure_code::NONE,
                leader_id: altered.leader,
                leader_epoch: altered.leader_epoch,
                isr: altered.isr,
                leader_recovery_state: altered.recovery as i8,
                partition_epoch: altered.partition_epoch,
            },
            Err(error) => Answer {
                partition_index: index,
                error_code: failure_code::of_controller(&error).to_i16(),
                ..Answer::default()
            },
        };
        match topics.last_mut().filter(|last| last.topic_id == topic_id) {
            Some(last) => last.partitions.push(answer),
            None => topics.push(TopicAnswer { topic_id, partitions: vec![answer] }),
        }
    }
    AlterPartitionResponse { topics, ..AlterPartitionResponse::default() }
}

/// What this broker asks of a controller elsewhere.
pub(crate) fn to_request(
    broker: NodeId,
    broker_epoch: i64,
    changes: Vec<IsrChange>,
) -> AlterPartitionRequest {
    let mut topics: Vec<TopicData> = Vec::new();
    for change in changes {
        let members = change.isr.into_iter();
        let partition = PartitionData {
            partition_index: change.index,
            leader_epoch: change.leader_epoch,
            new_isr: Vec::new(),
            new_isr_with_epochs: members
                .map(|(broker_id, broker_epoch)| BrokerState { broker_id, broker_epoch })
                .collect(),
            leader_recovery_state: change.recovery as i8,
            partition_epoch: change.partition_epoch,
        };
        match topics.last_mut().filter(|last| last.topic_id == change.topic) {
            Some(last) => last.partitions.push(partition),
            None => topics.push(TopicData { topic_id: change.topic, partitions: vec![partition] }),
        }
    }
    AlterPartitionRequest { broker_id: broker, broker_epoch, topics }
}

/// What that controller has answered.
pub(crate) fn from_response(response: AlterPartitionResponse) -> Result<IsrAnswers, Error> {
    if response.error_code != failure_code::NONE {
        return Err(failure_code::to_controller(response.error_code));
    }
    let partitions = response.topics.into_iter().flat_map(|topic| {
        topic.partitions.into_iter().map(move |answer| (topic.topic_id, answer.partition_index, read(answer)))
    });
    Ok(partitions.collect())
}

fn read(answer: Answer) -> Result<AlteredPartition, Error> {
    if answer.error_code != failure_code::NONE {
        return Err(failure_code::to_controller(answer.error_code));
    }
    Ok(AlteredPartition {
        leader: answer.leader_id,
        leader_epoch: answer.leader_epoch,
        isr: answer.isr,
        recovery: recovery(answer.leader_recovery_state)?,
        partition_epoch: answer.partition_epoch,
    })
}
