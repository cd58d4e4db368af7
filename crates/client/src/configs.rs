//! Describing and changing configurations of topics, brokers and groups.
//!
//! It judges no value; the controller does.

use crate::{Client, Error, topics::silent};
use model::NodeId;
use wire::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    describe_configs_request::DescribeConfigsResource,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};

/// What has a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// A broker.
    Broker(NodeId),
    /// All brokers.
    Brokers,
    /// A group (KIP-848).
    Group(String),
}

/// Where a value comes from (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set for this topic.
    Topic,
    /// Set for this broker while it runs.
    Broker,
    /// Set for all brokers while they run.
    Brokers,
    /// From the broker's file, environment or command line.
    Static,
    /// Nobody set it.
    Default,
    /// Set for this group, or a source that this client does not know.
    Other(i8),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The value; `None` if it has none or is secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it can be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether it is secret.
    pub is_sensitive: bool,
    /// What it means, if the broker says so.
    pub documentation: Option<String>,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// To a value.
    Set(String, String),
    /// Back to the default.
    Delete(String),
}

impl Resource {
    fn to_wire(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(id) => (4, id.to_string()),
            Self::Brokers => (4, String::new()),
            Self::Group(id) => (32, id.clone()),
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Topic(name) => format!("topic '{name}'"),
            Self::Broker(id) => format!("broker {id}"),
            Self::Brokers => "the brokers".into(),
            Self::Group(id) => format!("group '{id}'"),
        }
    }
}

impl ConfigSource {
    fn from_wire(source: i8) -> Self {
        match source {
            1 => Self::Topic,
            2 => Self::Broker,
            3 => Self::Brokers,
            4 => Self::Static,
            5 => Self::Default,
            other => Self::Other(other),
        }
    }

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::Brokers => "brokers",
            Self::Static => "static",
            Self::Default => "default",
            Self::Other(_) => "other",
        }
    }
}

impl Client {
    /// The configuration of a resource, by key.
    pub async fn describe_configs(
        &self,
        resource: &Resource,
        documentation: bool,
    ) -> Result<Vec<ConfigEntry>, Error> {
        let (resource_type, resource_name) = resource.to_wire();
        let asked = DescribeConfigsResource { resource_type, resource_name, configuration_keys: None };
        let request = DescribeConfigsRequest {
            resources: vec![asked],
            include_synonyms: false,
            include_documentation: documentation,
        };
        let response = match resource {
            Resource::Broker(id) => self.ask_node(*id, &request).await?,
            _ => self.ask(&request).await?,
        };
        let result = response.results.into_iter().next().ok_or_else(|| silent("DescribeConfigs"))?;
        Error::from_code(result.error_code, result.error_message, || resource.subject())?;
        let mut entries: Vec<_> = result
            .configs
            .into_iter()
            .map(|entry| ConfigEntry {
                name: entry.name,
                value: entry.value,
                source: ConfigSource::from_wire(entry.config_source),
                is_read_only: entry.read_only,
                is_sensitive: entry.is_sensitive,
                documentation: entry.documentation,
            })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Changes keys of a resource, all or none (KIP-339).
    pub async fn alter_configs(&self, resource: &Resource, changes: &[ConfigChange]) -> Result<(), Error> {
        let (resource_type, resource_name) = resource.to_wire();
        let configs = changes.iter().map(|change| match change {
            ConfigChange::Set(name, value) => {
                AlterableConfig { name: name.clone(), config_operation: 0, value: Some(value.clone()) }
            }
            ConfigChange::Delete(name) => {
                AlterableConfig { name: name.clone(), config_operation: 1, value: None }
            }
        });
        let altered = AlterConfigsResource { resource_type, resource_name, configs: configs.collect() };
        let request = IncrementalAlterConfigsRequest { resources: vec![altered], validate_only: false };
        let response = match resource {
            Resource::Broker(id) => self.ask_node(*id, &request).await?,
            _ => self.ask(&request).await?,
        };
        let result =
            response.responses.into_iter().next().ok_or_else(|| silent("IncrementalAlterConfigs"))?;
        Error::from_code(result.error_code, result.error_message, || resource.subject())
    }
}
