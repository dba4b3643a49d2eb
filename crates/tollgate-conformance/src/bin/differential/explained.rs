//! The list of differences that are meant, read from the crate's `tests/differential.md`.

use std::fmt;

use tollgate_conformance::front::Request;

const LIST: &str = include_str!("../../../../seclang/tests/differential.md");

/// Who matched.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Side {
    /// Our engine, and not libmodsecurity.
    Ours,
    /// libmodsecurity, and not our engine.
    Theirs,
}

/// Rows of the list.
#[derive(Debug)]
pub(crate) struct Explanations(Vec<Row>);

#[derive(Debug)]
struct Row {
    /// First and last id, any of which it covers.
    rules: Vec<(u64, u64)>,
    side: Side,
    /// A feature that the request must have, or `always`.
    when: String,
    why: String,
}

impl Explanations {
    pub(crate) fn load() -> Result<Self, String> {
        let rows = LIST.lines().filter(|line| line.starts_with("| ") && line.contains(|c: char| c.is_ascii_digit()));
        rows.map(Row::read).collect::<Result<_, _>>().map(Self)
    }

    /// Why that rule differs for that request.
    pub(crate) fn of(&self, (rule, side): (u64, Side), request: &Request) -> Option<&str> {
        let covers = |row: &&Row| {
            row.side == side
                && row.rules.iter().any(|(first, last)| (*first..=*last).contains(&rule))
                && has(request, &row.when)
        };
        self.0.iter().find(covers).map(|row| row.why.as_str())
    }
}

impl Row {
    fn read(line: &str) -> Result<Self, String> {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [rules, side, when, why] = cells.as_slice() else { return Err(format!("four cells, not `{line}`")) };
        let range = |text: &str| {
            let (first, last) = text.trim().split_once('–').unwrap_or((text.trim(), text.trim()));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        let rules = rules.split(',').map(range).collect::<Option<Vec<_>>>().ok_or(format!("no rules in `{line}`"))?;
        let side = match *side {
            "ours" => Side::Ours,
            "theirs" => Side::Theirs,
            other => return Err(format!("`{other}` is no side")),
        };
        Ok(Self { rules, side, when: (*when).to_owned(), why: (*why).to_owned() })
    }
}

fn has(request: &Request, feature: &str) -> bool {
    let kind = |word: &[u8]| request.values("content-type").any(|value| value.windows(word.len()).any(|at| at == word));
    let holds = |words: &[&[u8]]| {
        let parts = [&*request.target, &*request.body];
        let values = request.headers.iter().map(|(_, value)| value.as_slice());
        parts.into_iter().chain(values).any(|part| {
            let part = part.to_ascii_lowercase();
            words.iter().any(|word| part.windows(word.len()).any(|at| at == *word))
        })
    };
    match feature {
        "always" => true,
        "encoded-question" => {
            let path = request.target.split(|byte| *byte == b'?').next().unwrap_or_default().to_ascii_lowercase();
            path.windows(3).any(|three| three == b"%3f")
        }
        "encoded-path" => request.target.split(|byte| *byte == b'?').next().is_some_and(|path| path.contains(&b'%')),
        "json" => kind(b"json"),
        "line-break" => holds(&[b"\n", b"%0a", b"%250a", b"\\n", b"\\u000a", b"%u000a"]),
        "multipart" => kind(b"multipart"),
        "no-body" => request.body.is_empty(),
        "nul" => holds(&[b"\0", b"%00", b"%2500", b"\\u0000"]),
        "xml" => kind(b"xml"),
        _ => false,
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours only",
            Self::Theirs => "theirs only",
        })
    }
}
