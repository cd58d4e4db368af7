//! Whose quota counts for a client: the nearest of eight levels, and with whom the client shares it.
//!
//! It measures nothing and knows one key of quotas only; there is one for each.

use stdx::Map;

/// Whom a quota is for: names by type, where a missing name within a type is the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity<'a> {
    /// The user, if the quota is for users: `Some(None)` for those without one of their own.
    pub user: Option<Option<&'a str>>,
    /// The client id, in the same way.
    pub client_id: Option<Option<&'a str>>,
}

/// Who does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client<'a> {
    /// The name of the principal.
    pub user: &'a str,
    /// What the client calls itself; empty if it does not.
    pub id: &'a str,
}

/// The quotas of one key for all entities.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// By the user, then by the client id.
    both: Level<Level<f64>>,
    users: Level<f64>,
    client_ids: Level<f64>,
}

#[derive(Debug, Clone, PartialEq)]
struct Level<T> {
    named: Map<Box<str>, T>,
    default: Option<T>,
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self { named: Map::default(), default: None }
    }
}

/// A quota that counts for a client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// How much is allowed.
    pub(crate) limit: f64,
    /// Who shares it.
    pub(crate) shared_by: Sharers,
}

/// Who shares a quota; what they do is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharers {
    /// The connections of the user and client id.
    UserAndClientId,
    /// All of the user.
    User,
    /// All of the client id.
    ClientId,
}

impl Limits {
    /// Sets the quota of an entity; one for nobody is ignored.
    pub fn set(&mut self, entity: &Entity<'_>, limit: f64) {
        match (entity.user, entity.client_id) {
            (Some(user), Some(client_id)) => self.both.entry(user).put(client_id, limit),
            (Some(user), None) => self.users.put(user, limit),
            (None, Some(client_id)) => self.client_ids.put(client_id, limit),
            (None, None) => {}
        }
    }

    /// Whether nobody has a quota.
    pub fn is_empty(&self) -> bool {
        self.both.is_empty() && self.users.is_empty() && self.client_ids.is_empty()
    }

    /// The quota that counts. As in Kafka, a client without an id has none but those of its user.
    pub(crate) fn find(&self, client: Client<'_>) -> Option<Found> {
        let found = |limit: Option<&f64>, shared_by| limit.map(|limit| Found { limit: *limit, shared_by });
        let both = |level: Option<&Level<f64>>| {
            let level = level.filter(|_| !client.id.is_empty())?;
            found(level.get(client.id), Sharers::UserAndClientId)
        };
        both(self.both.named.get(client.user))
            .or_else(|| found(self.users.named.get(client.user), Sharers::User))
            .or_else(|| both(self.both.default.as_ref()))
            .or_else(|| found(self.users.default.as_ref(), Sharers::User))
            .or_else(|| {
                let limit = Some(&self.client_ids).filter(|_| !client.id.is_empty())?.get(client.id);
                found(limit, Sharers::ClientId)
            })
    }
}

impl<T> Level<T> {
    fn get(&self, name: &str) -> Option<&T> {
        self.named.get(name).or(self.default.as_ref())
    }

    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.default.is_none()
    }

    fn put(&mut self, name: Option<&str>, value: T) {
        match name {
            Some(name) => drop(self.named.insert(name.into(), value)),
            None => self.default = Some(value),
        }
    }
}

impl<T: Default> Level<T> {
    fn entry(&mut self, name: Option<&str>) -> &mut T {
        match name {
            Some(name) => self.named.entry(name.into()).or_default(),
            None => self.default.get_or_insert_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Name = Option<Option<&'static str>>;

    /// The eight levels from the first that counts to the last, with who shares the quota.
    const LEVELS: &[(Name, Name, Sharers)] = &[
        (Some(Some("u")), Some(Some("c")), Sharers::UserAndClientId),
        (Some(Some("u")), Some(None), Sharers::UserAndClientId),
        (Some(Some("u")), None, Sharers::User),
        (Some(None), Some(Some("c")), Sharers::UserAndClientId),
        (Some(None), Some(None), Sharers::UserAndClientId),
        (Some(None), None, Sharers::User),
        (None, Some(Some("c")), Sharers::ClientId),
        (None, Some(None), Sharers::ClientId),
    ];

    #[test]
    fn the_nearest_level_counts_whatever_is_set_besides() {
        for set in 0..1u32 << LEVELS.len() {
            let is_set = |level: usize| set & 1 << level != 0;
            let mut limits = Limits::default();
            for (level, (user, client_id, _)) in LEVELS.iter().enumerate().filter(|(level, _)| is_set(*level))
            {
                limits.set(&Entity { user: *user, client_id: *client_id }, level as f64);
                let other = |name: Name| name.map(|name| name.map(|_| "other"));
                if user.flatten().or(client_id.flatten()).is_some() {
                    limits.set(&Entity { user: other(*user), client_id: other(*client_id) }, -1.0);
                }
            }
            let expected = (0..LEVELS.len()).find(|level| is_set(*level));
            let expected = expected.map(|level| Found { limit: level as f64, shared_by: LEVELS[level].2 });
            assert_eq!(limits.find(Client { user: "u", id: "c" }), expected, "{set:b}");
            assert_eq!(limits.is_empty(), set == 0);
        }
    }

    #[test]
    fn a_client_without_an_id_has_the_quota_of_its_user_only() {
        let mut limits = Limits::default();
        let nameless = Client { user: "u", id: "" };
        limits.set(&Entity { user: None, client_id: Some(None) }, 1.0);
        limits.set(&Entity { user: Some(Some("u")), client_id: Some(None) }, 2.0);
        assert_eq!(limits.find(nameless), None);
        limits.set(&Entity { user: Some(None), client_id: None }, 3.0);
        assert_eq!(limits.find(nameless).map(|found| found.limit), Some(3.0));
    }
}
