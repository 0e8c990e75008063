//! The names of the Redis keys. The keyspace itself is described in the parent module.

use crate::store::model::{DocumentKey, Index, Owner, Space};
use crate::store::names;

/// Makes the keys of one Redis.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    /// `None` when the prefix holds something that would change the hash tag or a SCAN pattern.
    pub(super) fn new(prefix: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        (!prefix.is_empty() && prefix.chars().all(plain)).then(|| Keys { prefix: prefix.to_owned() })
    }

    /// `usherd:{account}:`. No account is called `~`: a slug begins with a letter.
    pub(super) fn space(&self, space: &Space) -> String {
        let tag = match space {
            Space::Installation => "~",
            Space::Account(account) => account.as_str(),
        };
        format!("{}:{{{tag}}}:", self.prefix)
    }

    /// The pattern of the keys of all spaces.
    pub(super) fn every_space(&self) -> String {
        format!("{}:{{*", self.prefix)
    }

    /// A key as what [`Keys::space`] makes of its space, and its name there.
    pub(super) fn split<'k>(&self, key: &'k str) -> Option<(&'k str, &'k str)> {
        let tag = key.strip_prefix(&self.prefix)?.strip_prefix(":{")?;
        let end = key.len() - tag.len() + tag.find("}:")? + "}:".len();
        Some(key.split_at(end))
    }

    pub(super) fn document(&self, space: &Space, key: &DocumentKey) -> String {
        format!("{}doc:{}:{}", self.space(space), key.kind, key.id)
    }

    pub(super) fn unique(&self, space: &Space, unique: &str) -> String {
        format!("{}unique:{unique}", self.space(space))
    }

    pub(super) fn index(&self, space: &Space, index: &Index) -> String {
        format!("{}index:{}", self.space(space), index.0)
    }

    pub(super) fn timers(&self, space: &Space) -> String {
        self.space(space) + "timers"
    }

    pub(super) fn claims(&self, space: &Space) -> String {
        self.space(space) + "claims"
    }

    pub(super) fn counters(&self, space: &Space) -> String {
        self.space(space) + "counters"
    }

    pub(super) fn events(&self, space: &Space) -> String {
        self.space(space) + "events"
    }

    pub(super) fn schema(&self) -> String {
        self.space(&Space::Installation) + "schema"
    }

    pub(super) fn installation(&self) -> String {
        self.space(&Space::Installation) + "installation"
    }

    pub(super) fn beat(&self) -> String {
        self.space(&Space::Installation) + "beat"
    }
}

/// The member of `timers` and the field of `claims`. Kinds contain no colon.
pub(super) fn owner_member(owner: &Owner) -> String {
    format!("{}:{}", owner.kind, owner.id)
}

pub(super) fn owner(member: &str) -> Option<Owner> {
    let (kind, id) = member.split_once(':')?;
    Some(DocumentKey { kind: names::interned(kind), id: id.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_space_carries_its_hash_tag() {
        let keys = Keys::new("usherd").unwrap();
        let acme = Space::Account("acme".parse().unwrap());
        assert_eq!(keys.document(&acme, &DocumentKey::new("user", "7")), "usherd:{acme}:doc:user:7");
        assert_eq!(keys.index(&acme, &Index::new("member:7")), "usherd:{acme}:index:member:7");
        assert_eq!(keys.unique(&Space::Installation, "token"), "usherd:{~}:unique:token");
        assert_eq!(keys.schema(), "usherd:{~}:schema");
    }

    #[test]
    fn a_key_comes_apart_into_its_space_and_its_name_there() {
        let keys = Keys::new("usherd").unwrap();
        let acme = Space::Account("acme".parse().unwrap());
        let key = keys.document(&acme, &DocumentKey::new("story", "}:x"));
        assert_eq!(keys.split(&key), Some((keys.space(&acme).as_str(), "doc:story:}:x")));
        assert_eq!(keys.split("usherd2:{acme}:timers"), None);
        assert_eq!(keys.split("usherd:acme:timers"), None);
    }

    #[test]
    fn a_prefix_cannot_bring_its_own_hash_tag() {
        for bad in ["", "a{b}", "a*", "a b"] {
            assert!(Keys::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_owner_reads_back_from_its_member() {
        let user = DocumentKey::new("user", "a:b");
        assert_eq!(owner_member(&user), "user:a:b");
        assert_eq!(owner("user:a:b"), Some(user));
        assert_eq!(owner("user"), None);
    }
}
