//! The slot protocol of the open table: one word holds a key's tag and its time, so that one compare-and-swap covers
//! both. Knows nothing of rates; which amounts are stored is the caller's business.
//!
//! A slot that is replaced under a thread fails that thread's swap, and it looks again. Two threads that insert the same
//! key at once both scan again after their insert; a fence between the two lets at least one of them see the other.

use crate::sync::{AtomicU64, Ordering, fence};

/// Loom tries every order of all steps: fewer slots are as good a model and far fewer orders.
pub(crate) const SLOTS_PER_LINE: usize = if cfg!(loom) { 2 } else { 8 };

/// The slots that share a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Line([AtomicU64; SLOTS_PER_LINE]);

/// A slot's content: the time in the upper half, the tag in the lower. Tag zero is an empty slot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Word(u64);

/// The two lines in which a key may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<'a> {
    /// Where the key is looked for first.
    pub(crate) first: &'a Line,
    /// Where it is looked for if it is not there.
    pub(crate) second: &'a Line,
}

/// A slot and what it held when it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) slot: &'a AtomicU64,
    pub(crate) word: Word,
    /// The place within the pair, 0 to 15.
    pub(crate) place: usize,
}

/// A claimed slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimed<'a> {
    pub(crate) seen: Seen<'a>,
    /// Whether a key in use had to go.
    pub(crate) evicted: bool,
}

impl Word {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn new(tag: u32, tat: u32) -> Self {
        Self((tat as u64) << 32 | tag as u64)
    }

    pub(crate) const fn tag(self) -> u32 {
        self.0 as u32
    }

    /// Ticks from `now` until the slot's time, negative if it has passed. Times wrap; a slot must be cleared within 2^31
    /// ticks of its time.
    pub(crate) const fn ahead(self, now: u32) -> i32 {
        ((self.0 >> 32) as u32).wrapping_sub(now) as i32
    }

    const fn is_free(self, now: u32) -> bool {
        self.tag() == 0 || self.ahead(now) <= 0
    }
}

impl<'a> Seen<'a> {
    /// Replaces what was seen, unless it has changed: then says what is there.
    pub(crate) fn swap(&self, new: Word) -> Result<(), Word> {
        match self.slot.compare_exchange(self.word.0, new.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(changed) => Err(Word(changed)),
        }
    }

    pub(crate) const fn with(self, word: Word) -> Seen<'a> {
        Seen { word, ..self }
    }
}

impl Line {
    /// Compares all slots without a branch: where in the line a key stands is random, and a mispredicted branch that
    /// waits for memory costs more than the comparisons.
    #[inline]
    fn find(&self, tag: u32, base: usize) -> Option<Seen<'_>> {
        loop {
            let mut hits = 0_u32;
            for (i, slot) in self.0.iter().enumerate() {
                hits |= u32::from(Word(slot.load(Ordering::Acquire)).tag() == tag) << i;
            }
            if hits == 0 {
                return None;
            }
            let i = hits.trailing_zeros() as usize % SLOTS_PER_LINE;
            // Loading again is cheaper than keeping eight words; if the slot has changed hands, look again.
            let word = Word(self.0[i].load(Ordering::Acquire));
            if word.tag() == tag {
                return Some(Seen { slot: &self.0[i], word, place: base + i });
            }
        }
    }

    #[inline]
    fn seen(&self, base: usize) -> impl Iterator<Item = Seen<'_>> {
        self.0.iter().enumerate().map(move |(i, slot)| {
            let word = Word(slot.load(Ordering::Acquire));
            Seen { slot, word, place: base + i }
        })
    }

    /// Empties the slots whose time has passed; says how many.
    pub(crate) fn clear_expired(&self, now: u32) -> usize {
        let stale = |seen: &Seen<'_>| seen.word != Word::EMPTY && seen.word.is_free(now);
        self.seen(0).filter(stale).filter(|seen| seen.swap(Word::EMPTY).is_ok()).count()
    }

    /// How many slots hold a key whose time has not passed.
    pub(crate) fn live(&self, now: u32) -> usize {
        self.seen(0).filter(|seen| !seen.word.is_free(now)).count()
    }
}

impl<'a> Pair<'a> {
    /// The key's slot: looks in the second line only if the first does not have it.
    #[inline]
    pub(crate) fn find(&self, tag: u32) -> Option<Seen<'a>> {
        // Asks for the second line early: if it is needed, it comes while the first is still on its way.
        let _ = self.second.0[0].load(Ordering::Relaxed);
        self.first.find(tag, 0).or_else(|| self.second.find(tag, SLOTS_PER_LINE))
    }

    /// Asks for both lines before anything is done with them.
    #[inline]
    pub(crate) fn touch(&self) {
        let _ = self.first.0[0].load(Ordering::Relaxed);
        let _ = self.second.0[0].load(Ordering::Relaxed);
    }

    /// Another slot with the same tag.
    pub(crate) fn twin(&self, tag: u32, mine: usize) -> Option<Seen<'a>> {
        self.all().find(|seen| seen.word.tag() == tag && seen.place != mine)
    }

    /// Puts `new` into a free slot of the first line if that is half empty, else of the emptier line; with none free,
    /// into that of the key whose time passes first. `None` if another thread was faster.
    ///
    /// Always taking the emptier line would put 32 % of the keys into their second one, this 21 %, at the same number
    /// of evictions at load 0.7 (1 in a million), and each of them costs a second miss on every later look.
    pub(crate) fn claim(&self, new: Word, now: u32) -> Option<Claimed<'a>> {
        let (free_first, in_first) = survey(self.first.seen(0), now);
        let (free_second, in_second) = survey(self.second.seen(SLOTS_PER_LINE), now);
        let free = if free_first > SLOTS_PER_LINE / 2 || free_first >= free_second { in_first } else { in_second };
        let (target, evicted) = match free {
            Some(seen) => (seen, false),
            None => (self.all().min_by_key(|seen| seen.word.ahead(now))?, true),
        };
        target.swap(new).ok()?;
        // INVARIANT: of two threads that claim a slot each and then look for a twin, at least one sees the other's.
        fence(Ordering::SeqCst);
        Some(Claimed { seen: target.with(new), evicted })
    }

    fn all(&self) -> impl Iterator<Item = Seen<'a>> {
        self.first.seen(0).chain(self.second.seen(SLOTS_PER_LINE))
    }
}

/// How many slots are free, and the first of them.
fn survey<'a>(line: impl Iterator<Item = Seen<'a>>, now: u32) -> (usize, Option<Seen<'a>>) {
    line.filter(|seen| seen.word.is_free(now)).fold((0, None), |(n, first), seen| (n + 1, first.or(Some(seen))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_000;

    fn put(line: &Line, i: usize, word: Word) {
        line.0[i].store(word.0, Ordering::Relaxed);
    }

    fn claim(first: &Line, second: &Line) -> Option<(usize, bool)> {
        let claimed = Pair { first, second }.claim(Word::new(77, NOW + 50), NOW)?;
        Some((claimed.seen.place, claimed.evicted))
    }

    #[test]
    fn times_compare_across_the_wrap() {
        assert_eq!(Word::new(1, 5).ahead(u32::MAX - 4), 10);
        assert_eq!(Word::new(1, u32::MAX - 4).ahead(5), -10);
        assert!(Word::new(1, u32::MAX).is_free(3));
        assert!(!Word::new(1, 3).is_free(u32::MAX));
        assert!(Word::EMPTY.is_free(u32::MAX - 9));
    }

    #[test]
    fn a_key_goes_to_the_first_line_while_that_is_half_empty_then_to_the_emptier() {
        let (first, second) = (Line::default(), Line::default());
        for taken in 0..4 {
            assert_eq!(claim(&first, &second), Some((taken, false)));
        }
        assert_eq!(claim(&first, &second), Some((SLOTS_PER_LINE, false)));
        for i in 1..6 {
            put(&second, i, Word::new(5, NOW + 9));
        }
        assert_eq!(claim(&first, &second), Some((4, false)));
    }

    #[test]
    fn an_expired_slot_is_as_good_as_an_empty_one() {
        let (first, second) = (Line::default(), Line::default());
        for i in 0..SLOTS_PER_LINE {
            put(&first, i, Word::new(5, NOW + 9));
            put(&second, i, Word::new(5, NOW + 9));
        }
        put(&second, 6, Word::new(9, NOW));
        assert_eq!(claim(&first, &second), Some((SLOTS_PER_LINE + 6, false)));
    }

    #[test]
    fn with_no_slot_free_the_least_debt_goes() {
        let (first, second) = (Line::default(), Line::default());
        for i in 0..SLOTS_PER_LINE {
            put(&first, i, Word::new(5, NOW + 900));
            put(&second, i, Word::new(5, NOW + 500));
        }
        put(&first, 3, Word::new(5, NOW + 40));
        assert_eq!(claim(&first, &second), Some((3, true)));
    }

    #[test]
    fn a_slot_that_changed_hands_fails_the_swap() {
        let (first, second) = (Line::default(), Line::default());
        put(&first, 2, Word::new(5, NOW + 9));
        let seen = Pair { first: &first, second: &second }.find(5).expect("it is there");
        put(&first, 2, Word::new(6, NOW + 9));
        assert_eq!(seen.swap(Word::new(5, NOW + 10)), Err(Word::new(6, NOW + 9)));
    }
}
