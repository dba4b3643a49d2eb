//! Recognises arrays of nothing but numbers at the speed of memory, before anything is made of them.
//!
//! An automaton of ten states decides the grammar of JSON numbers, commas and white space; its table holds, for each byte,
//! all ten transitions in one word, so that a step is a shift. Brackets leave the automaton and are counted apart.

/// Finds the end of a number, which begins at the front of `text`.
pub(super) fn number_end(text: &[u8]) -> Option<usize> {
    let mut state = ELEMENT;
    for (at, &byte) in text.iter().enumerate() {
        let next = step(state, byte);
        if matches!(next, STOP | ELEMENT | BEHIND) {
            return is_number(state).then_some(at);
        }
        state = next;
    }
    is_number(state).then_some(text.len())
}

/// Remembers what is known about arrays that are not all numbers, so that nesting never makes a byte be scanned once per
/// level.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Arrays that were open where the last failing scan failed, outermost first: none of them is a run. All others
    /// that begin before that place are.
    failed: Vec<usize>,
    /// Of the scan at hand.
    open: Vec<usize>,
    /// Bytes that were looked at.
    #[cfg(test)]
    pub(super) steps: usize,
}

impl Runs {
    /// If the array at `start` holds numbers only, and nests no deeper than `depth`: the byte behind it.
    pub(super) fn end_of(&mut self, body: &[u8], start: usize, depth: usize) -> Option<usize> {
        if self.failed.binary_search(&start).is_ok() {
            return None;
        }
        let end = self.scan(body, start, depth);
        if end.is_none() {
            std::mem::swap(&mut self.failed, &mut self.open);
        }
        end
    }

    fn scan(&mut self, body: &[u8], start: usize, depth: usize) -> Option<usize> {
        self.open.clear();
        let mut rest = body.get(start..)?;
        let mut state = ELEMENT;
        loop {
            #[cfg(test)]
            let before = rest.len();
            (state, rest) = advance(state, rest);
            let at = body.len() - rest.len();
            let (&byte, mut tail) = rest.split_first()?;
            match byte {
                b'[' if state == ELEMENT && self.open.len() < depth => {
                    self.open.push(at);
                    tail = skip_space(tail);
                    if let Some((b']', behind)) = tail.split_first() {
                        self.open.pop();
                        state = BEHIND;
                        tail = behind;
                    }
                }
                b']' if is_number(state) || state == BEHIND => {
                    self.open.pop();
                    state = BEHIND;
                }
                _ => return None,
            }
            #[cfg(test)]
            {
                self.steps += before - tail.len();
            }
            if self.open.is_empty() {
                return Some(body.len() - tail.len());
            }
            rest = tail;
        }
    }
}

/// What follows the white space at the front, as JSON knows it (which is not as ASCII knows it).
pub(super) fn skip_space(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', tail @ ..] = text {
        text = tail;
    }
    text
}

/// Runs the automaton up to the byte that it cannot take.
fn advance(mut state: u64, mut rest: &[u8]) -> (u64, &[u8]) {
    // `STOP` is never left, so that eight bytes can be tried without looking in between.
    while let Some((eight, tail)) = rest.split_first_chunk::<8>() {
        let next = eight.iter().fold(state, |state, &byte| step(state, byte));
        if next == STOP {
            break;
        }
        (state, rest) = (next, tail);
    }
    while let Some((&byte, tail)) = rest.split_first() {
        let next = step(state, byte);
        if next == STOP {
            break;
        }
        (state, rest) = (next, tail);
    }
    (state, rest)
}

// A state is where its transition stands in the words of the table. `MINUS` has four bits only: it leads to the first
// three states alone.
const STOP: u64 = 0;
/// Behind `0` as the whole integer part.
const ZERO: u64 = 6;
/// In the integer part.
const WHOLE: u64 = 12;
/// Where an element must come.
const ELEMENT: u64 = 18;
/// Behind the decimal point.
const POINT: u64 = 24;
/// In the fraction.
const FRACTION: u64 = 30;
/// Behind `e`.
const EXPONENT: u64 = 36;
/// Behind the sign of the exponent.
const SIGN: u64 = 42;
/// In the digits of the exponent.
const POWER: u64 = 48;
/// Behind an element and white space.
const BEHIND: u64 = 54;
/// Behind the sign of a number.
const MINUS: u64 = 60;

const fn is_number(state: u64) -> bool {
    matches!(state, ZERO | WHOLE | FRACTION | POWER)
}

const fn step(state: u64, byte: u8) -> u64 {
    TABLE[byte as usize] >> state & 63
}

static TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = row(byte);
        byte += 1;
    }
    table
}

const fn row(byte: usize) -> u64 {
    const fn to(state: u64, from: u64) -> u64 {
        state << from
    }
    const SPACE: u64 = to(ELEMENT, ELEMENT) | to(BEHIND, BEHIND) | spread(BEHIND);
    const fn spread(state: u64) -> u64 {
        to(state, ZERO) | to(state, WHOLE) | to(state, FRACTION) | to(state, POWER)
    }
    const DIGIT: u64 = to(WHOLE, WHOLE)
        | to(FRACTION, POINT)
        | to(FRACTION, FRACTION)
        | to(POWER, EXPONENT)
        | to(POWER, SIGN)
        | to(POWER, POWER);
    match byte {
        0x20 | 0x09 | 0x0a | 0x0d => SPACE,
        0x2c => spread(ELEMENT) | to(ELEMENT, BEHIND),
        0x2d => to(MINUS, ELEMENT) | to(SIGN, EXPONENT),
        0x2b => to(SIGN, EXPONENT),
        0x2e => to(POINT, ZERO) | to(POINT, WHOLE),
        0x30 => DIGIT | to(ZERO, ELEMENT) | to(ZERO, MINUS),
        0x31..=0x39 => DIGIT | to(WHOLE, ELEMENT) | to(WHOLE, MINUS),
        0x45 | 0x65 => to(EXPONENT, ZERO) | to(EXPONENT, WHOLE) | to(EXPONENT, FRACTION),
        _ => 0,
    }
}
