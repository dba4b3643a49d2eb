//! Answers by the digest of their question, bounded in number and bytes. The one that goes first is the oldest that nobody
//! asked for since it was last passed over.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use http::HeaderMap;
use tollgate_core::time::Tick;

use super::Question;

/// What an entry takes beside its bytes: two digests, a map's slot, the header map.
const OVERHEAD: usize = 512;

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) head: HeaderMap,
    pub(super) body: Bytes,
    pub(super) at: Tick,
    pub(super) until: Tick,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shelf {
    entries: HashMap<Question, Entry>,
    /// The same keys, each once, in the order in which they may go.
    order: VecDeque<Question>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    bytes: usize,
    /// Asked for since it was last passed over.
    used: bool,
}

impl Shelf {
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), bytes: 0, max_entries, max_bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The answer to a question, unless its time is over.
    pub(super) fn get(&mut self, question: &Question, now: Tick) -> Option<Kept> {
        let entry = self.entries.get_mut(question).filter(|entry| now < entry.kept.until)?;
        entry.used = true;
        Some(entry.kept.clone())
    }

    /// Keeps an answer, in the place of an older one; `false` where it is larger than everything that may be kept.
    pub(super) fn put(&mut self, question: Question, kept: Kept) -> bool {
        let fields = kept.head.iter().map(|(name, value)| name.as_str().len() + value.len());
        let bytes = kept.body.len().saturating_add(fields.sum::<usize>()).saturating_add(OVERHEAD);
        if bytes > self.max_bytes || self.max_entries == 0 {
            return false;
        }
        if let Some(old) = self.entries.get_mut(&question) {
            self.bytes = self.bytes - old.bytes + bytes;
            *old = Entry { kept, bytes, used: false };
        } else {
            self.bytes += bytes;
            self.entries.insert(question, Entry { kept, bytes, used: false });
            self.order.push_back(question);
        }
        while self.bytes > self.max_bytes || self.entries.len() > self.max_entries {
            self.make_room(&question);
        }
        true
    }

    /// Lets one go, but not the newest. Each is passed over once at most, so the search ends.
    fn make_room(&mut self, newest: &Question) {
        while let Some(question) = self.order.pop_front() {
            let Some(entry) = self.entries.get_mut(&question) else { continue };
            if entry.used || question == *newest {
                entry.used = false;
                self.order.push_back(question);
                continue;
            }
            self.bytes -= entry.bytes;
            self.entries.remove(&question);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes: usize, until: u64) -> Kept {
        Kept { head: HeaderMap::new(), body: vec![0; bytes].into(), at: Tick(0), until: Tick(until) }
    }

    const fn question(number: u8) -> Question {
        [number; 32]
    }

    #[test]
    fn it_is_bounded_in_entries_and_in_bytes() {
        let mut shelf = Shelf::new(3, 10_000);
        for number in 0..200 {
            assert!(shelf.put(question(number), kept(100, 9)));
            assert!(shelf.len() <= 3 && shelf.order.len() == shelf.len());
        }
        let mut shelf = Shelf::new(1000, 5 * (1000 + OVERHEAD));
        for number in 0..200 {
            assert!(shelf.put(question(number), kept(usize::from(number) * 9, 9)));
            let sum: usize = shelf.entries.values().map(|entry| entry.bytes).sum();
            assert!(shelf.bytes() == sum && sum <= 5 * (1000 + OVERHEAD));
            assert!(shelf.get(&question(number), Tick(0)).is_some(), "the newest stays");
        }
        assert!(!shelf.put(question(201), kept(5 * (1000 + OVERHEAD), 9)), "larger than all that may be kept");
        assert!(!Shelf::new(0, 1 << 20).put(question(1), kept(1, 9)));
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        let mut shelf = Shelf::new(3, 1 << 20);
        for number in 0..3 {
            shelf.put(question(number), kept(1, 9));
        }
        assert!(shelf.get(&question(0), Tick(1)).is_some());
        shelf.put(question(3), kept(1, 9));
        let there = (0..4).map(|number| shelf.get(&question(number), Tick(1)).is_some());
        assert_eq!(there.collect::<Vec<_>>(), [true, false, true, true]);
    }

    #[test]
    fn what_is_over_is_not_given_and_a_fresh_answer_takes_its_place() {
        let mut shelf = Shelf::new(3, 1 << 20);
        shelf.put(question(1), kept(10, 5));
        assert!(shelf.get(&question(1), Tick(4)).is_some() && shelf.get(&question(1), Tick(5)).is_none());
        shelf.put(question(1), kept(20, 50));
        assert_eq!(shelf.get(&question(1), Tick(5)).map(|kept| kept.body.len()), Some(20));
        assert_eq!((shelf.len(), shelf.order.len(), shelf.bytes()), (1, 1, 20 + OVERHEAD));
    }
}
