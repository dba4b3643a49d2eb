//! The turn of a key: another one takes its place while it is still good, and records of keys long gone are dropped.

use std::time::Duration;

use super::file::MAX_LIFE;
use super::issue::{DAY, DEFAULT_ENV};
use super::{IssuedKey, KeyFile, KeyFileError, KeyState, NewKey, PepperValue, Random, Standing, Timestamp};

/// How long a key is still good when another one takes its place.
pub const DEFAULT_GRACE: Duration = Duration::from_hours(7 * 24);
/// How long records of keys that are no good any more are kept, unless somebody says otherwise.
pub const DEFAULT_KEPT: Duration = Duration::from_hours(90 * 24);

/// How a key is to be rotated.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// How long the old key is still good; never beyond its own end.
    pub grace: Duration,
    /// How many days the new key lives; as many as the old one was given, without.
    pub days: Option<u32>,
    /// Who does it.
    pub created_by: String,
}

impl KeyFile {
    /// Makes a key that may do what the key of that id may, for the same user, and lets the old one end.
    ///
    /// # Errors
    /// No such key, one that is not active, a user with two keys already, or what [`KeyFile::issue`] says; the file is then
    /// as before.
    pub fn rotate(
        &mut self,
        id: &str,
        rotation: Rotation,
        (pepper, random): (PepperValue<'_>, &mut Random<'_>),
        now: Timestamp,
    ) -> Result<IssuedKey, KeyFileError> {
        let old = self.find(id)?;
        let standing = old.standing(now);
        if standing != Standing::Active {
            return Err(KeyFileError::NotActive { id: old.id.clone(), standing });
        }
        let given = old.expires_at.since(old.created_at).min(MAX_LIFE);
        let days = u32::try_from(given.as_secs().div_ceil(DAY.as_secs())).unwrap_or(u32::MAX);
        let request = NewKey {
            env: old.env.clone().unwrap_or_else(|| DEFAULT_ENV.to_owned()),
            tenant: old.tenant.clone(),
            scopes: old.scopes.clone(),
            models: old.models.clone(),
            cidrs: old.cidrs.clone(),
            not_before: None,
            days: Some(rotation.days.unwrap_or(days)),
            created_by: rotation.created_by,
            client: old.client.clone(),
            purpose: old.purpose.clone(),
            first: old.client.is_empty().then(|| old.principal().into_owned()),
            note: old.note.clone(),
        };
        let issued = self.issue(request, pepper, random, now)?;
        let old = self.find(id)?;
        old.state = KeyState::Retiring;
        // A key that ends before it was made is no key.
        let least = old.created_at.after(Duration::from_secs(1));
        old.expires_at = old.expires_at.min(now.after(rotation.grace)).max(least);
        old.successor = Some(issued.record.id.clone());
        Ok(issued)
    }

    /// Drops the records of keys that were revoked, or ended, at least `kept` ago: their ids. The records of access name
    /// them, so that they should outlive those.
    pub fn prune(&mut self, kept: Duration, now: Timestamp) -> Vec<String> {
        let gone = self.keys.extract_if(.., |record| {
            let end = match record.state {
                // A revocation without a time counts from the end of the key: later rather than too early.
                KeyState::Revoked => record.revoked_at.unwrap_or(record.expires_at),
                _ => record.expires_at,
            };
            end.after(kept) <= now
        });
        gone.map(|record| record.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{DEFAULT_GRACE, DEFAULT_KEPT, Rotation};
    use crate::auth::tests::{NOW, at, id_of, issue, pepper, random, request};
    use crate::auth::{IssuedKey, KeyFile, KeyFileError, KeyState, NewKey, PepperValue, Standing};

    fn rotate(file: &mut KeyFile, id: &str, seed: u64, now: &str) -> Result<IssuedKey, KeyFileError> {
        let value = pepper("v2");
        let pepper = PepperValue { id: "v2", value: &value };
        let rotation = Rotation { grace: DEFAULT_GRACE, days: None, created_by: "turner".into() };
        file.rotate(id, rotation, (pepper, &mut random(seed)), at(now))
    }

    #[test]
    fn the_new_key_is_like_the_old_one_and_the_old_one_ends_after_the_grace() {
        let mut file = KeyFile::default();
        let narrow = NewKey { models: vec!["digits".into()], days: Some(30), note: "n".into(), ..request() };
        let old = issue(&mut file, narrow, 1);
        let issued = rotate(&mut file, id_of(&old), 2, "2027-01-03T00:00:00Z").expect("it is active");
        assert!(issued.reveal().starts_with("tgk_test_"), "the label stays");
        let [old, new] = &*file.keys else { panic!("two records") };
        assert_eq!((old.state, old.expires_at), (KeyState::Retiring, at("2027-01-10T00:00:00Z")));
        assert_eq!(old.successor.as_ref(), Some(&new.id));
        assert_eq!((&new.tenant, &new.models, &new.note), (&old.tenant, &old.models, &old.note));
        assert_eq!((new.expires_at, &*new.pepper_id), (at("2027-02-02T00:00:00Z"), "v2"), "30 days again");
        assert_eq!(new.created_by, "turner");
        assert_eq!((old.principal(), new.principal()), (old.id.clone().into(), old.id.clone().into()), "one user");
    }

    #[test]
    fn a_line_of_rotations_has_one_user() {
        let mut file = KeyFile::default();
        let first = id_of(&issue(&mut file, request(), 1)).to_owned();
        let second = rotate(&mut file, &first, 2, "2027-01-03T00:00:00Z").expect("active").record.id;
        let third = rotate(&mut file, &second, 3, "2027-01-20T00:00:00Z").expect("active").record;
        assert_eq!(third.principal(), first);
        let mut file = KeyFile::default();
        let client = NewKey { client: "batch".into(), ..request() };
        let first = id_of(&issue(&mut file, client, 1)).to_owned();
        let second = rotate(&mut file, &first, 2, "2027-01-03T00:00:00Z").expect("active").record;
        assert_eq!((&*second.principal(), &second.first), ("acme/batch", &None));
    }

    #[test]
    fn at_most_two_keys_of_a_client_and_purpose_live() {
        let mut file = KeyFile::default();
        let of = |purpose: &str| NewKey { client: "batch".into(), purpose: purpose.into(), ..request() };
        let first = issue(&mut file, of("a"), 1);
        let second = issue(&mut file, of("a"), 2);
        issue(&mut file, of("b"), 3);
        let value = pepper("v1");
        let full = KeyFileError::TwoLive { client: "acme/batch".into() };
        let pepper = PepperValue { id: "v1", value: &value };
        assert_eq!(file.issue(of("a"), pepper, &mut random(4), at(NOW)).expect_err("a third"), full);
        assert_eq!(rotate(&mut file, id_of(&first), 5, NOW).expect_err("a third"), full);
        assert_eq!(file.keys[0].state, KeyState::Active, "nothing has changed");
        file.revoke(id_of(&second), at(NOW)).expect("it is there");
        rotate(&mut file, id_of(&first), 6, NOW).expect("there is room again");
        let again = rotate(&mut file, id_of(&first), 7, NOW).expect_err("it has a successor");
        assert_eq!(again.to_string(), format!("key `{}` is retiring", id_of(&first)));
        // The old one has ended: its successor may be followed.
        let next = file.keys[3].id.clone();
        rotate(&mut file, &next, 8, "2027-01-08T00:00:00Z").expect("the first has ended");
    }

    #[test]
    fn only_an_active_key_is_rotated() {
        let mut file = KeyFile::default();
        let revoked = issue(&mut file, request(), 1);
        let expired = issue(&mut file, NewKey { days: Some(1), ..request() }, 2);
        let later = issue(&mut file, NewKey { not_before: Some(at("2027-01-20T00:00:00Z")), ..request() }, 3);
        file.revoke(id_of(&revoked), at(NOW)).expect("it is there");
        let before = file.clone();
        for (key, standing) in
            [(&revoked, Standing::Revoked), (&expired, Standing::Expired), (&later, Standing::NotYet)]
        {
            let error = rotate(&mut file, id_of(key), 9, "2027-01-10T00:00:00Z").expect_err("not active");
            assert_eq!(error, KeyFileError::NotActive { id: id_of(key).into(), standing });
        }
        let error = rotate(&mut file, "0000000000", 9, NOW).expect_err("no such key");
        assert_eq!(error.to_string(), "no key has the id `0000000000`");
        assert_eq!(file, before);
    }

    #[test]
    fn no_grace_is_no_time_before_the_key_was_made() {
        let mut file = KeyFile::default();
        let key = issue(&mut file, request(), 1);
        let value = pepper("v1");
        let rotation = Rotation { grace: Duration::ZERO, days: Some(5), created_by: String::new() };
        let pepper = PepperValue { id: "v1", value: &value };
        let issued = file.rotate(id_of(&key), rotation, (pepper, &mut random(2)), at(NOW)).expect("active");
        assert_eq!(issued.record.expires_at, at("2027-01-06T00:00:00Z"));
        assert_eq!(file.keys[0].expires_at, at("2027-01-01T00:00:01Z"));
    }

    #[test]
    fn a_grace_never_lengthens_a_life() {
        let mut file = KeyFile::default();
        let key = issue(&mut file, NewKey { days: Some(2), ..request() }, 1);
        rotate(&mut file, id_of(&key), 2, NOW).expect("active");
        assert_eq!(file.keys[0].expires_at, at("2027-01-03T00:00:00Z"));
    }

    #[test]
    fn pruning_drops_what_is_long_gone_and_nothing_else() {
        let mut file = KeyFile::default();
        let revoked = issue(&mut file, request(), 1);
        let expired = issue(&mut file, NewKey { days: Some(1), ..request() }, 2);
        let alive = issue(&mut file, NewKey { days: Some(365), ..request() }, 3);
        file.revoke(id_of(&revoked), at("2027-01-05T00:00:00Z")).expect("it is there");
        assert_eq!(file.prune(DEFAULT_KEPT, at("2027-04-01T23:59:59Z")), Vec::<String>::new());
        assert_eq!(file.prune(DEFAULT_KEPT, at("2027-04-02T00:00:00Z")), [id_of(&expired)]);
        assert_eq!(file.prune(DEFAULT_KEPT, at("2027-04-05T00:00:00Z")), [id_of(&revoked)]);
        assert_eq!(file.prune(DEFAULT_KEPT, at("2027-12-31T00:00:00Z")), Vec::<String>::new());
        assert_eq!(file.keys[0].id, id_of(&alive));
    }
}
