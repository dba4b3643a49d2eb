//! What is measured, and what was promised of it.

use std::fmt;

/// One measurement: how requests travel, how large they are, what is done with them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cell {
    pub(super) transport: Transport,
    pub(super) size: Size,
    pub(super) stages: Stages,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Plain,
    TlsH1,
    TlsH2,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Size {
    B100,
    Kb12,
    Mb1,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stages {
    /// No guard, no identity, no protocol: what nginx does.
    Bare,
    /// Every stage, while nginx stays bare.
    All,
}

/// A promise on the ratio of CPU times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bar {
    /// The most that (ours − `free_us`) ÷ nginx may be.
    pub(super) ratio: f64,
    /// Microseconds that are not compared: nginx has nothing like the work that they pay for.
    pub(super) free_us: f64,
    /// Missing it is stated, and no failure.
    pub(super) aim: bool,
}

impl Cell {
    /// All of them, or the ones of a quick look.
    pub(super) fn all(quick: bool) -> Vec<Self> {
        let mut cells = Vec::new();
        for stages in [Stages::Bare, Stages::All] {
            for transport in [Transport::Plain, Transport::TlsH1, Transport::TlsH2] {
                for size in [Size::B100, Size::Kb12, Size::Mb1] {
                    cells.push(Self { transport, size, stages });
                }
            }
        }
        cells.retain(|cell| !quick || cell.is_telling());
        cells
    }

    fn is_telling(self) -> bool {
        match (self.stages, self.transport, self.size) {
            (Stages::Bare, Transport::Plain, _) | (Stages::Bare, _, Size::B100) => true,
            (Stages::All, transport, size) => transport == Transport::Plain && size != Size::Mb1,
            _ => false,
        }
    }

    pub(super) fn bar(self) -> Option<Bar> {
        let ratio = |ratio| Some(Bar { ratio, free_us: 0.0, aim: false });
        match (self.stages, self.transport, self.size) {
            (Stages::Bare, Transport::Plain, Size::B100) => ratio(1.2),
            (Stages::Bare, Transport::Plain, Size::Kb12) => ratio(0.95),
            (Stages::Bare, Transport::Plain, Size::Mb1) | (Stages::Bare, Transport::TlsH1, _) => ratio(1.0),
            (Stages::Bare, Transport::TlsH2, _) => ratio(0.85),
            (Stages::All, _, Size::B100) => Some(Bar { ratio: 1.4, free_us: 0.0, aim: true }),
            (Stages::All, _, Size::Kb12) => Some(Bar { ratio: 1.4, free_us: 30.0, aim: true }),
            (Stages::All, _, Size::Mb1) => None,
        }
    }

    /// Requests per second of the open loop: what one core can still carry without a queue of its own.
    pub(super) const fn rate(self) -> u32 {
        match self.size {
            Size::B100 | Size::Kb12 => 1000,
            Size::Mb1 => 200,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages = match self.stages {
            Stages::All => "all stages",
            Stages::Bare => "bare",
        };
        write!(f, "{stages}, {}, {}", self.transport.name(), self.size.name())
    }
}

impl Transport {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain h1",
            Self::TlsH1 => "TLS h1",
            Self::TlsH2 => "TLS h2",
        }
    }
}

impl Size {
    /// As in the names of the body files.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::B100 => "100B",
            Self::Kb12 => "12KB",
            Self::Mb1 => "1MB",
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aim = if self.aim { "aim " } else { "" };
        write!(f, "{aim}≤ {:.2}", self.ratio)?;
        if self.free_us > 0.0 { write!(f, " + {} µs", self.free_us) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Cell;

    #[test]
    fn every_bar_of_bare_proxying_binds_and_a_quick_look_has_seven_cells() {
        let cells = Cell::all(false);
        assert_eq!(cells.len(), 18);
        assert_eq!(cells.iter().filter_map(|cell| cell.bar()).filter(|bar| !bar.aim).count(), 9);
        assert_eq!(Cell::all(true).len(), 7);
    }
}
