//! First in, first out, with everybody able to leave from anywhere at once: entries in one block of memory, linked both
//! ways.

/// Links to nobody.
const NOBODY: u32 = u32::MAX;

/// Where an entry is. Of an entry that has left, it never finds another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ticket {
    place: u32,
    turn: u32,
}

/// All entries of all lines.
#[derive(Debug)]
pub(super) struct Hall<E> {
    places: Vec<Place<E>>,
    free: u32,
    count: usize,
}

#[derive(Debug)]
struct Place<E> {
    /// None if the place is free; `next` then links the next free one.
    entry: Option<E>,
    before: u32,
    next: u32,
    /// How often the place was given away.
    turn: u32,
}

/// The ends of one line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    first: u32,
    last: u32,
}

impl Default for Line {
    fn default() -> Self {
        Self { first: NOBODY, last: NOBODY }
    }
}

impl Line {
    pub(super) const fn is_empty(self) -> bool {
        self.first == NOBODY
    }
}

impl<E> Hall<E> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: NOBODY, count: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Puts an entry at the end of a line.
    pub(super) fn push(&mut self, line: &mut Line, entry: E) -> Option<Ticket> {
        let place = self.room()?;
        let taken = self.places.get_mut(place as usize)?;
        taken.entry = Some(entry);
        taken.turn = taken.turn.wrapping_add(1);
        (taken.before, taken.next) = (line.last, NOBODY);
        let turn = taken.turn;
        match self.places.get_mut(line.last as usize) {
            Some(last) => last.next = place,
            None => line.first = place,
        }
        line.last = place;
        self.count += 1;
        Some(Ticket { place, turn })
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&E> {
        self.places.get(ticket.place as usize).filter(|place| place.turn == ticket.turn)?.entry.as_ref()
    }

    /// The entry at the head of a line.
    pub(super) fn first(&self, line: Line) -> Option<Ticket> {
        self.ticket(line.first)
    }

    /// The entry at the end of a line.
    pub(super) fn last(&self, line: Line) -> Option<Ticket> {
        self.ticket(line.last)
    }

    /// Takes an entry out of its line.
    pub(super) fn take(&mut self, line: &mut Line, ticket: Ticket) -> Option<E> {
        let place = self.places.get_mut(ticket.place as usize).filter(|place| place.turn == ticket.turn)?;
        let entry = place.entry.take()?;
        let (before, next) = (place.before, place.next);
        place.next = self.free;
        self.free = ticket.place;
        self.count -= 1;
        match self.places.get_mut(before as usize) {
            Some(before) => before.next = next,
            None => line.first = next,
        }
        match self.places.get_mut(next as usize) {
            Some(next) => next.before = before,
            None => line.last = before,
        }
        Some(entry)
    }

    /// An entry, and all before it in its line, backwards.
    pub(super) fn up_to(&self, ticket: Ticket) -> impl Iterator<Item = &E> {
        let is_there = self.get(ticket).is_some();
        let mut place = if is_there { ticket.place } else { NOBODY };
        std::iter::from_fn(move || {
            let found = self.places.get(place as usize)?;
            place = found.before;
            found.entry.as_ref()
        })
    }

    fn ticket(&self, place: u32) -> Option<Ticket> {
        self.places.get(place as usize).map(|found| Ticket { place, turn: found.turn })
    }

    fn room(&mut self) -> Option<u32> {
        if let Some(place) = self.places.get(self.free as usize) {
            return Some(std::mem::replace(&mut self.free, place.next));
        }
        let place = u32::try_from(self.places.len()).ok().filter(|place| *place != NOBODY)?;
        self.places.push(Place { entry: None, before: NOBODY, next: NOBODY, turn: 0 });
        Some(place)
    }
}
