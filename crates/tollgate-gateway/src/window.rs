//! What the rules are shown of a reply that flows: windows that overlap, so that what they look for is seen whole.
//!
//! Nothing is held back. What is found is found at most a window late, and the reply is cut there.

use std::sync::Arc;

use tollgate_core::ruling::Denial;

use crate::exchange::Exchange;

/// How long a window is at most, and how much of the last one the next one begins with.
const WINDOW: usize = 8 * 1024;
const OVERLAP: usize = WINDOW / 2;

/// The last bytes of a reply.
#[derive(Debug, Default)]
pub struct Window {
    bytes: Vec<u8>,
    /// How many of them no rule has seen.
    fresh: usize,
}

impl Window {
    /// Takes a piece, and shows what has gathered to the rules whenever it is half a window.
    ///
    /// # Errors
    /// What the client may know of a refusal.
    pub fn show(&mut self, data: &[u8], exchange: &mut Exchange, worker: usize) -> Result<(), Denial> {
        for piece in data.chunks(OVERLAP) {
            let surplus = (self.bytes.len() + piece.len()).saturating_sub(WINDOW);
            self.bytes.drain(..surplus.min(self.bytes.len()));
            self.bytes.extend_from_slice(piece);
            self.fresh += piece.len();
            // The end of an event is worth a look too: a stream of short ones would be seen minutes late.
            if self.fresh >= OVERLAP || self.bytes.ends_with(b"\n\n") {
                self.scan(exchange, worker)?;
            }
        }
        Ok(())
    }

    fn scan(&mut self, exchange: &mut Exchange, worker: usize) -> Result<(), Denial> {
        // Of what was seen, only as much as the first bytes of something found may reach back.
        let seen = self.bytes.len().saturating_sub(self.fresh).min(OVERLAP).min(self.fresh.saturating_mul(4).max(512));
        let from = self.bytes.len().saturating_sub(self.fresh + seen);
        let window = self.bytes.get(from..).unwrap_or_default();
        let policy = Arc::clone(exchange.policy());
        let Exchange { log, waf, .. } = exchange;
        let ruling = policy.waf.layer.as_ref().map_or(Ok(()), |layer| layer.reply_window(waf, window, worker));
        if ruling.is_err() {
            // Only then: a note for every window would fill the journal.
            policy.waf.ask(log, |_, _| ruling)?;
        }
        self.fresh = 0;
        Ok(())
    }
}
