//! How the demo looks: at most 100 columns; colour and block characters on a terminal, plain ASCII elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use tollgate_model::catalog;

use super::attacks::{Row, Verdict};
use super::flood::Flood;
use super::tour::Judged;

/// The widest line.
const WIDTH: usize = 100;

/// Makes lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    color: bool,
}

impl Paint {
    /// Colour on a terminal, unless `NO_COLOR` says no (no-color.org) or the terminal cannot.
    pub(super) fn of(environment: &BTreeMap<String, String>) -> Self {
        let refused = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        Self { color: std::io::stdout().is_terminal() && !refused && !dumb }
    }

    pub(super) fn title(self, text: &str) -> String {
        format!("\n{}\n", self.ink("1", text))
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.ink("2", text)
    }

    /// Handwritten digits side by side, with what was made of them below.
    pub(super) fn digits(self, digits: &[&Judged]) -> String {
        let mut out = String::new();
        for row in 0..8 {
            out.push_str("  ");
            for digit in digits {
                let pixels = digit.features.get(row * 8..row * 8 + 8).unwrap_or_default();
                out.extend(pixels.iter().map(|ink| self.pixel(*ink)));
                out.push_str("    ");
            }
            out.push('\n');
        }
        for digit in digits {
            let mark = self.mark(digit.as_promised);
            let said = format!("a {}, {}", digit.label, percent(digit.confidence));
            out.push_str(&format!("  {mark} {said:<15}"));
        }
        out.push('\n');
        for digit in digits {
            out.push_str(&format!("     {:<15}", time(digit.took_us)));
        }
        out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// Features of web addresses side by side.
    pub(super) fn phishing(self, sites: &[&Judged]) -> String {
        let names = catalog::find("fraud_mlp").map_or(&[][..], |card| card.columns);
        let mut out = format!("  {:<28}", "");
        for place in 1..=sites.len() {
            out.push_str(&format!("{:>10}", format!("site {place}")));
        }
        out.push('\n');
        for (place, name) in names.iter().enumerate() {
            out.push_str(&format!("  {:<28}", name.replace('_', " ")));
            for site in sites {
                out.push_str(&format!("{:>10}", site.features.get(place).copied().unwrap_or_default()));
            }
            out.push('\n');
        }
        for (place, site) in sites.iter().enumerate() {
            out.push_str(&self.verdict(&format!("site {}", place + 1), site));
        }
        out
    }

    pub(super) fn sentences(self, sentences: &[&Judged]) -> String {
        let cut = |text: &str| match text.char_indices().nth(WIDTH - 4) {
            None => text.to_owned(),
            Some(_) => text.chars().take(WIDTH - 7).chain("...".chars()).collect(),
        };
        let quoted = |one: &&Judged| format!("  \"{}\"\n", cut(one.text.as_deref().unwrap_or_default()));
        sentences.iter().map(|one| quoted(one) + &self.verdict("it is", one)).collect()
    }

    fn verdict(self, what: &str, one: &Judged) -> String {
        let mark = self.mark(one.as_promised);
        let (sure, took) = (percent(one.confidence), time(one.took_us));
        format!("  {mark} {what}: {}, {sure} sure, in truth {} ({took})\n", one.label, one.truth)
    }

    pub(super) fn heading(self) -> String {
        let line = format!("     {:<46}{:<24}{:<10}{:>10}", "what was sent", "the answer", "stage", "time");
        self.faint(&line)
    }

    /// What the marks and columns mean.
    pub(super) fn legend(self) -> String {
        let good = self.mark(true);
        let what = self.faint("status, code and stage as promised; the stage is from the gateway's own access record");
        let time = self.faint("the time runs from the first byte sent to the last one received, after the handshake");
        format!("  {good} {what}\n     {time}")
    }

    pub(super) fn row(self, row: &Row) -> String {
        let (answer, stage) = (answer(&row.got), row.got.stage.as_deref().unwrap_or("-"));
        let line = self.cells(row.as_promised, [&row.sent, &answer, stage, &time(row.took_us)]);
        if row.as_promised { line } else { line + &self.broken(&row.promised) }
    }

    pub(super) fn flood(self, flood: &Flood) -> String {
        let sent = "a cost flood beside an honest tenant";
        let (answer, stage) = (answer(&flood.got), flood.got.stage.as_deref().unwrap_or("-"));
        let mut out = self.cells(flood.as_promised, [sent, &answer, stage, &time(flood.refusal_us)]);
        let why = flood.evidence.as_deref().unwrap_or("no evidence");
        let Flood { served, refused, other, good_served, good_sent, .. } = flood;
        let lines = [
            format!("the flood: {} dear requests on 16 connections: {served} served,", flood.sent),
            format!("           {refused} refused because {why}, {other} other"),
            format!("the honest tenant beside it: {good_served} of {good_sent} served, half of them within"),
            format!(
                "           {}, the slowest {}; alone {} (promised: {})",
                time(flood.beside_us),
                time(flood.worst_us),
                time(flood.alone_us),
                time(flood.promised_us)
            ),
        ];
        for line in lines {
            out.push_str(&format!("\n     {}", self.faint(&line)));
        }
        if flood.got == flood.promised { out } else { out + &self.broken(&flood.promised) }
    }

    fn cells(self, good: bool, cells: [&str; 4]) -> String {
        let [sent, answer, stage, took] = cells;
        let answer = format!("{answer:<24}");
        let answer = if good { answer } else { self.ink("31", &answer) };
        format!("  {} {sent:<46}{answer}{stage:<10}{took:>10}", self.mark(good))
    }

    fn broken(self, promised: &Verdict) -> String {
        let stage = promised.stage.as_deref().unwrap_or("-");
        format!("\n     {}", self.ink("31", &format!("promised: {} by {stage}", answer(promised))))
    }

    /// The last line.
    pub(super) fn sum(self, kept: usize, all: usize) -> String {
        let text = format!("{kept} of {all} as promised");
        self.ink(if kept == all { "1;32" } else { "1;31" }, &text)
    }

    /// Two columns wide.
    fn mark(self, good: bool) -> String {
        match (self.color, good) {
            (true, true) => self.ink("32", "\u{2713} "),
            (true, false) => self.ink("31", "\u{2717} "),
            (false, true) => "ok".to_owned(),
            (false, false) => "NO".to_owned(),
        }
    }

    /// Two columns wide: a shade from 0 to 16.
    fn pixel(self, ink: f64) -> String {
        if self.color {
            // 24 greys from 232 on.
            return format!("\x1b[38;5;{}m\u{2588}\u{2588}\x1b[0m", 232.0 + (ink / 16.0 * 23.0).round());
        }
        let shades = [' ', '.', ':', '-', '=', '+', '*', '#', '@'].into_iter().zip(0_u8..);
        let shade = shades.filter(|(_, level)| f64::from(*level) * 2.0 <= ink).last();
        shade.map_or(' ', |(shade, _)| shade).to_string().repeat(2)
    }

    fn ink(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn answer(verdict: &Verdict) -> String {
    match &verdict.code {
        Some(code) => format!("{} {code}", verdict.status),
        None => format!("{} served", verdict.status),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A time with the digits that matter.
pub(super) fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..100_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        100_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_at_every_size() {
        let times = [0, 999, 1_000, 52_340, 100_000, 999_999, 1_000_000, 12_345_678].map(time);
        assert_eq!(times, ["0 us", "999 us", "1.0 ms", "52.3 ms", "100 ms", "999 ms", "1.0 s", "12.3 s"]);
    }

    #[test]
    fn every_shade_is_two_columns_wide() {
        let plain = Paint { color: false };
        for ink in 0..=16 {
            assert_eq!(plain.pixel(f64::from(ink)).len(), 2);
        }
        assert_eq!((plain.pixel(0.0), plain.pixel(16.0)), ("  ".to_owned(), "@@".to_owned()));
    }
}
