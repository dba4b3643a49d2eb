//! What a stream of messages holds for each request that is not done, and which of them an answer is for.
//!
//! An answer is for the oldest request with its `id` that was not answered yet, else for the last one that was; an answer
//! without an `id` for the oldest without one, and where all have one (a server that does not repeat it) for the oldest.
//! The first answer settles a request, unless the server says that more will come (`triton_final_response: false`).
//! Then the place before the model is given back with the first answer, because few servers say which is the last, and the
//! bill stays open: until the last answer, where it is named, else until the stream ends, at the price of the time until
//! the last one that came. An answer that is for nobody settles nothing.

use std::collections::VecDeque;

use tollgate_core::cost::Cost;
use tollgate_core::journal::Journal;
use tollgate_core::time::Tick;
use tollgate_layers::contract::Awaited;
use tollgate_layers::protocol::oip::grpc::Heard;

use crate::pipeline::Tab;
use crate::upstream::Slot;

/// Requests that were answered, and not for the last time, of one stream. Beyond that the oldest is settled.
const MOST_BEGUN: usize = 64;

/// What both ways of a stream write down.
#[derive(Default)]
pub(super) struct Books {
    requests: Requests<Bill>,
    /// What answers to any call are held to, once for each model.
    held_to: Vec<Awaited>,
    /// What was said against answers.
    pub(super) log: Journal,
    pub(super) spent: Cost,
    pub(super) bytes_out: u64,
}

/// What a request that is not done holds.
pub(super) struct Bill {
    /// What it is charged to.
    pub(super) tab: Tab,
    /// Its place before the model server, until that begins to answer.
    pub(super) slot: Option<Slot>,
    /// What its answers are held to.
    awaited: Option<Box<Awaited>>,
    /// When it was last answered.
    heard: Option<Tick>,
}

/// What an answer is held to.
#[derive(Debug)]
pub(super) enum Due {
    /// Nothing.
    Free,
    /// The contract of its request.
    One(Box<Awaited>),
    /// One of these: nobody knows which request it is for.
    Any(Vec<Awaited>),
}

impl Bill {
    pub(super) const fn new(tab: Tab, slot: Slot, awaited: Option<Box<Awaited>>) -> Self {
        Self { tab, slot: Some(slot), awaited, heard: None }
    }
}

impl Books {
    /// A request goes up.
    pub(super) fn asked(&mut self, id: Option<Box<str>>, bill: Bill) {
        if let Some(awaited) = &bill.awaited
            && !self.held_to.iter().any(|known| known.model() == awaited.model())
        {
            self.held_to.push(awaited.to_any_call());
        }
        self.requests.open.push_back(Entry { id, held: bill });
    }

    /// Whether the model server owes the first answer to a request.
    pub(super) fn waits(&self) -> bool {
        !self.requests.open.is_empty()
    }

    /// What an answer is held to that has come. An error is no answer, nor is the empty end of several.
    pub(super) fn due(&self, heard: &Heard<'_>) -> Due {
        let place = self.requests.place(heard.id);
        if heard.failed || self.held_to.is_empty() {
            return Due::Free;
        }
        match place {
            Place::Begun(_) if heard.last == Some(true) && heard.is_empty() => Due::Free,
            Place::Nobody => Due::Any(self.held_to.clone()),
            Place::Begun(at) => due(self.requests.begun.get(at)),
            Place::Open(at) => due(self.requests.open.get(at)),
        }
    }

    /// An answer has come.
    pub(super) fn answered(&mut self, heard: &Heard<'_>, now: Tick) {
        // An error is the last word on its request.
        let last = if heard.failed { Some(true) } else { heard.last };
        match self.requests.answered(heard.id, last) {
            Answered::Done(mut bill) => {
                if heard.failed {
                    bill.tab.refund();
                }
                self.settle(bill, now);
            }
            Answered::Begun(bill, evicted) => {
                bill.heard = Some(now);
                drop(bill.slot.take());
                if let Some(evicted) = evicted {
                    self.settle_begun(evicted, now);
                }
            }
            Answered::Nobody => {}
        }
    }

    /// The stream is over: what was answered is paid for; what the model server failed to answer is not.
    pub(super) fn close(&mut self, now: Tick, failed: bool) {
        let Requests { open, begun } = std::mem::take(&mut self.requests);
        for Entry { held: mut bill, .. } in open {
            if failed {
                bill.tab.refund();
            }
            self.settle(bill, now);
        }
        for Entry { held: bill, .. } in begun {
            self.settle_begun(bill, now);
        }
    }

    fn settle_begun(&mut self, bill: Bill, now: Tick) {
        let until = bill.heard.unwrap_or(now);
        self.settle(bill, until);
    }

    fn settle(&mut self, mut bill: Bill, until: Tick) {
        let spent = bill.tab.settle(until);
        if let Some(slot) = &mut bill.slot {
            slot.spent = Some(spent);
        }
        self.spent = Cost(self.spent.0.saturating_add(spent.0));
    }
}

fn due(entry: Option<&Entry<Bill>>) -> Due {
    entry.and_then(|entry| entry.held.awaited.clone()).map_or(Due::Free, Due::One)
}

/// Requests of a stream that are not done, each with what is held for it.
#[derive(Debug)]
struct Requests<T> {
    /// Not answered, the oldest first. As many as have a place before the model server.
    open: VecDeque<Entry<T>>,
    /// Answered, and not for the last time.
    begun: VecDeque<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    id: Option<Box<str>>,
    held: T,
}

/// Where the request of an answer stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    Begun(usize),
    Nobody,
    Open(usize),
}

/// What an answer means for the request that it is for.
#[derive(Debug)]
enum Answered<'a, T> {
    /// More may come; and another one that was begun is done, because there are too many.
    Begun(&'a mut T, Option<T>),
    /// It was the last one.
    Done(T),
    /// No request waits for it.
    Nobody,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self { open: VecDeque::new(), begun: VecDeque::new() }
    }
}

impl<T> Requests<T> {
    fn place(&self, id: Option<&str>) -> Place {
        let has = |entry: &Entry<T>| entry.id.as_deref() == id;
        match (self.open.iter().position(has), self.begun.iter().rposition(has)) {
            (Some(at), _) => Place::Open(at),
            (None, Some(at)) => Place::Begun(at),
            // A server that does not repeat what a request is called.
            (None, None) if id.is_none() && !self.open.is_empty() => Place::Open(0),
            (None, None) if id.is_none() => self.begun.len().checked_sub(1).map_or(Place::Nobody, Place::Begun),
            (None, None) => Place::Nobody,
        }
    }

    fn answered(&mut self, id: Option<&str>, last: Option<bool>) -> Answered<'_, T> {
        let entry = match self.place(id) {
            Place::Begun(at) => return self.answered_again(at, last),
            Place::Nobody => None,
            Place::Open(at) => self.open.remove(at),
        };
        let Some(entry) = entry else { return Answered::Nobody };
        if last != Some(false) {
            return Answered::Done(entry.held);
        }
        let evicted = if self.begun.len() < MOST_BEGUN { None } else { self.begun.pop_front() };
        self.begun.push_back(entry);
        match self.begun.back_mut() {
            Some(entry) => Answered::Begun(&mut entry.held, evicted.map(|entry| entry.held)),
            None => Answered::Nobody,
        }
    }

    fn answered_again(&mut self, place: usize, last: Option<bool>) -> Answered<'_, T> {
        if last == Some(true) {
            return self.begun.remove(place).map_or(Answered::Nobody, |entry| Answered::Done(entry.held));
        }
        self.begun.get_mut(place).map_or(Answered::Nobody, |entry| Answered::Begun(&mut entry.held, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[&'static str]) -> Requests<u32> {
        let name = |id: &str| (!id.is_empty()).then(|| Box::from(id));
        let entry = |(held, id): (u32, &&str)| Entry { id: name(id), held };
        Requests { open: (1..).zip(ids).map(entry).collect(), begun: VecDeque::new() }
    }

    /// `D` for done, `B` for begun, with the number of the request; 0 for nobody.
    fn hear(requests: &mut Requests<u32>, id: &str, last: Option<bool>) -> (char, u32) {
        match requests.answered(Some(id).filter(|id| !id.is_empty()), last) {
            Answered::Done(held) => ('D', held),
            Answered::Begun(held, _) => ('B', *held),
            Answered::Nobody => ('N', 0),
        }
    }

    #[test]
    fn further_answers_to_a_request_settle_no_other() {
        let mut requests = of(&["a", "b"]);
        assert_eq!(hear(&mut requests, "a", None), ('D', 1));
        assert_eq!(hear(&mut requests, "a", None), ('N', 0));
        assert_eq!(hear(&mut requests, "b", None), ('D', 2));
    }

    #[test]
    fn answers_come_in_any_order() {
        let mut requests = of(&["a", "b", "c"]);
        for (id, number) in [("c", 3), ("a", 1), ("b", 2)] {
            assert_eq!(hear(&mut requests, id, Some(true)), ('D', number));
        }
    }

    #[test]
    fn a_request_of_many_answers_is_done_with_the_one_that_says_so() {
        let mut requests = of(&["a", "b"]);
        for _ in 0..3 {
            assert_eq!(hear(&mut requests, "a", Some(false)), ('B', 1));
        }
        assert_eq!(hear(&mut requests, "b", Some(true)), ('D', 2));
        assert_eq!(hear(&mut requests, "a", Some(true)), ('D', 1));
        assert_eq!(hear(&mut requests, "a", Some(true)), ('N', 0));
    }

    #[test]
    fn nameless_answers_are_for_the_oldest_nameless_request() {
        let mut requests = of(&["a", "", ""]);
        assert_eq!(hear(&mut requests, "", None), ('D', 2));
        assert_eq!(hear(&mut requests, "", Some(false)), ('B', 3));
        assert_eq!(hear(&mut requests, "", Some(true)), ('D', 3));
        assert_eq!(hear(&mut requests, "", None), ('D', 1), "a server that repeats no name");
        assert_eq!(hear(&mut requests, "", None), ('N', 0));
    }

    #[test]
    fn one_name_for_all_is_none() {
        let mut requests = of(&["a", "a", "a"]);
        assert_eq!(hear(&mut requests, "a", Some(false)), ('B', 1));
        assert_eq!(hear(&mut requests, "a", Some(false)), ('B', 2), "else the third would wait for ever");
        assert_eq!(hear(&mut requests, "a", None), ('D', 3));
        assert_eq!(hear(&mut requests, "a", Some(true)), ('D', 2));
    }

    #[test]
    fn what_was_begun_is_bounded() {
        let mut requests: Requests<u32> = Requests::default();
        for number in 0..1000 {
            requests.open.push_back(Entry { id: Some(number.to_string().into()), held: number });
            let evicted = match requests.answered(Some(&number.to_string()), Some(false)) {
                Answered::Begun(_, evicted) => evicted,
                other => panic!("{other:?}"),
            };
            let most = u32::try_from(MOST_BEGUN).expect("a small number");
            assert_eq!(evicted, number.checked_sub(most));
        }
        assert_eq!((requests.open.len(), requests.begun.len()), (0, MOST_BEGUN));
    }
}
