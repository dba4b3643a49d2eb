//! Collections that outlive a transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Request, drive, facts, load, load_with, options};
use crate::engine::{Scratch, Store, Transaction};
use crate::ir::Options;

type Vars = BTreeMap<(String, Vec<u8>), BTreeMap<Vec<u8>, (Vec<u8>, u64)>>;

#[derive(Default)]
struct Shared(Mutex<Vars>);

impl Store for Shared {
    fn load(&self, collection: &str, key: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = self.0.lock();
        let found = all.get(&(collection.to_owned(), key.to_vec()));
        found.into_iter().flatten().map(|(name, (value, _))| (name.clone(), value.clone())).collect()
    }

    fn save(&self, collection: &str, key: &[u8], name: &[u8], value: Option<&[u8]>, seconds: u64) {
        let mut all = self.0.lock();
        let vars = all.entry((collection.to_owned(), key.to_vec())).or_default();
        match value {
            Some(value) => drop(vars.insert(name.to_vec(), (value.to_vec(), seconds))),
            None => drop(vars.remove(name)),
        }
    }
}

const RULES: &str = r#"
    SecCollectionTimeout 600
    SecAction "id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR},setvar:ip.hits=+1"
    SecRule IP:hits "@ge 3" "id:2,phase:1,deny,msg:'%{ip.hits}',expirevar:ip.hits=60"
    SecRule ARGS:sid "@rx ." "id:3,phase:2,pass,nolog,setsid:%{MATCHED_VAR},setvar:session.pages=+1"
    SecRule SESSION:pages "@eq 2" "id:4,phase:2,pass,msg:'%{SESSIONID}'"
"#;

#[test]
fn variables_of_an_address_outlive_its_requests_where_a_store_is_given() {
    let rules = load(RULES);
    let store = Arc::new(Shared::default());
    let scratch = &mut Scratch::default();
    let request = Request::get("/?sid=s1");
    let mut once = || {
        let turn =
            Transaction::new(Arc::clone(&rules), facts(&request)).with_store(Arc::clone(&store) as Arc<dyn Store>);
        drive(turn, &request, scratch).ids()
    };
    assert_eq!([once(), once(), once()], [vec![], vec![4], vec![2]]);
    let all = store.0.lock();
    let hits = &all[&("IP".to_owned(), b"192.0.2.7".to_vec())][&b"hits"[..]];
    assert_eq!(*hits, (b"3".to_vec(), 60));
    assert_eq!(all[&("SESSION".to_owned(), b"s1".to_vec())][&b"pages"[..]].1, 600);
}

#[test]
fn without_a_store_a_collection_is_empty_for_each_transaction() {
    let rules = load(RULES);
    for _ in 0..4 {
        assert_eq!(super::once(&rules, &Request::get("/"), &mut Scratch::default()).ids(), Vec::<u64>::new());
    }
}

#[test]
fn without_a_store_what_opens_a_collection_is_warned_about_once_where_it_first_stands() {
    let warnings = |store: bool, rules: &str| {
        let (_, warnings) = load_with(rules, &Options { store, ..options(false) }).unwrap();
        warnings.iter().map(|warning| format!("{} {}", warning.place, warning.message)).collect::<Vec<_>>()
    };
    let told = "`initcol` opens a collection that every request finds empty";
    assert_eq!(
        warnings(false, RULES),
        [format!("rules.conf:3:40 {told}, here and in 1 more place: there is no store for it")]
    );
    let one = "SecAction \"id:1,phase:1,pass,initcol:ip=%{REMOTE_ADDR}\"";
    assert_eq!(warnings(false, one), [format!("rules.conf:1:30 {told}: there is no store for it")]);
    assert_eq!(warnings(true, RULES), [""; 0]);
    assert_eq!(warnings(false, "SecAction \"id:1,phase:1,pass,setvar:tx.a=1\""), [""; 0]);
}
