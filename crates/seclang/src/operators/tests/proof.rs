//! The proofs never rule out a value that matches: on tables, on random values, and on values made from patterns.

use proptest::prelude::*;
use regex_syntax::hir::{Hir, HirKind};

use super::super::proof::bytes_of;
use super::super::rx::parse;
use super::*;

/// Asserts that everything an operator says of its matches is true of this one.
pub(super) fn holds(operator: &Operator, value: &[u8], matched: bool) {
    if !matched {
        return;
    }
    let (shortest, longest) = operator.lengths();
    assert!(operator.can_match(&ByteSet::of(value)), "{operator:?} on {}", value.escape_ascii());
    assert!(operator.can_match(&ByteSet::ALL));
    assert!(value.len() >= shortest && longest.is_none_or(|longest| value.len() <= longest), "{operator:?}");
    if let Some(literals) = operator.required() {
        let lower = value.to_ascii_lowercase();
        let found = literals.iter().any(|literal| memchr::memmem::find(&lower, literal).is_some());
        assert!(found, "no literal of {operator:?} in {}", value.escape_ascii());
    }
    if let Some(needs) = operator.needs() {
        let lower = value.to_ascii_lowercase();
        let found = needs.literals.iter().any(|literal| memchr::memmem::find(&lower, literal).is_some());
        let met = found || !needs.bytes.is_disjoint(&ByteSet::of(value));
        assert!(met, "nothing that {operator:?} needs in {}", value.escape_ascii());
    }
}

/// A small generator of its own, so that a failing seed is one number.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).unwrap()
    }
}

/// A string that the expression matches, its assertions apart.
fn sample(hir: &Hir, dice: &mut Dice, out: &mut Vec<u8>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
        HirKind::Class(class) => {
            let set = bytes_of(class);
            let members: Vec<u8> = set.iter().collect();
            out.extend(members.get(dice.roll(members.len())));
        }
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(repetition.min + 3).min(repetition.min + 3);
            let spread = usize::try_from(most - repetition.min).unwrap();
            for _ in 0..usize::try_from(repetition.min).unwrap() + dice.roll(spread + 1) {
                sample(&repetition.sub, dice, out);
            }
        }
        HirKind::Capture(capture) => sample(&capture.sub, dice, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| sample(part, dice, out)),
        HirKind::Alternation(parts) => sample(&parts[dice.roll(parts.len())], dice, out),
    }
}

#[test]
fn every_pattern_of_the_core_rule_set_compiles_and_its_proofs_hold_on_samples() {
    let Some(patterns) = core_patterns() else { return };
    assert!(patterns.len() >= 318, "{}", patterns.len());
    let mut library = Patterns::default();
    let (mut matched, mut tried) = (0, 0);
    let mut caches = Caches::default();
    for pattern in &patterns {
        let rx = library.rx(pattern).unwrap_or_else(|why| panic!("{pattern}: {why:?}"));
        let operator = Operator::Rx(rx);
        let hir = parse(pattern).unwrap();
        let mut dice = Dice(7);
        for round in 0..40 {
            let mut value = Vec::new();
            for _ in 0..dice.roll(4) * (round % 2) {
                value.push(dice.byte());
            }
            sample(&hir, &mut dice, &mut value);
            if round % 4 == 3 {
                value.push(dice.byte());
            }
            tried += 1;
            let found = operator.test(&value, b"", &mut caches, None);
            matched += u32::from(found);
            holds(&operator, &value, found);
        }
    }
    assert!(matched * 10 > tried * 7, "only {matched} of {tried} samples match");
}

#[test]
fn a_sieve_lets_every_operator_through_that_matches() {
    let mut operators: Vec<Option<Operator>> = vec![
        Some(compiled("pm", "gzip br").unwrap()),
        None,
        Some(compiled("contains", "needle").unwrap()),
        Some(compiled("rx", "[`|]x").unwrap()),
        Some(Operator::DetectXss),
        Some(compiled("eq", "5").unwrap()),
        Some(Operator::NoMatch),
    ];
    let mut library = Patterns::default();
    let patterns = core_patterns().unwrap_or_default();
    operators.extend(patterns.iter().map(|pattern| Some(Operator::Rx(library.rx(pattern).unwrap()))));
    let sieve = Sieve::new(operators.iter().map(Option::as_ref));
    let mut sifted = Sifted::default();
    let mut through = |value: &[u8]| {
        let mut list = Vec::new();
        sieve.sift(value, &ByteSet::of(value), &mut sifted, |at| list.push(at));
        list
    };
    let few: Vec<usize> = through(b"plain text").into_iter().filter(|&at| at < 7).collect();
    assert_eq!(few, [1, 5, 6]);
    let more: Vec<usize> = through(b"a NEEDLE with BR and = or |x").into_iter().filter(|&at| at < 7).collect();
    assert_eq!(more, [0, 1, 2, 3, 4, 5, 6]);

    let mut dice = Dice(3);
    let mut caches = Caches::default();
    for pattern in &patterns {
        let hir = parse(pattern).unwrap();
        let mut value = b"x ".to_vec();
        sample(&hir, &mut dice, &mut value);
        let list = through(&value);
        for (at, operator) in operators.iter().enumerate() {
            let Some(operator) = operator else { continue };
            let found = operator.test(&value, b"5", &mut caches, None);
            assert!(!found || list.contains(&at), "{operator:?} on {}", value.escape_ascii());
        }
    }
}

#[test]
fn most_patterns_of_the_core_rule_set_never_meet_numbers_or_names() {
    let Some(patterns) = core_patterns() else { return };
    let mut library = Patterns::default();
    let operators: Vec<_> = patterns.iter().map(|pattern| Operator::Rx(library.rx(pattern).unwrap())).collect();
    let left = |set: &ByteSet| operators.iter().filter(|operator| operator.can_match(set)).count();
    let numbers = ByteSet::of(b"0123456789.eE+-");
    let words = ByteSet::of(b"._").with_range(b'a', b'z').with_range(b'A', b'Z').with_range(b'0', b'9');
    assert!(left(&numbers) < operators.len() / 8, "{}", left(&numbers));
    assert!(left(&words) < operators.len() / 2, "{}", left(&words));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn proofs_hold_on_random_patterns_and_values(
        pattern in pattern(),
        values in prop::collection::vec(prop::collection::vec(prop::sample::select(b"abAB01-. \n".to_vec()), 0..12), 1..24),
        seed in any::<u64>(),
    ) {
        let Ok(operator) = compiled("rx", &pattern) else { return Ok(()) };
        let hir = parse(&pattern).unwrap();
        let mut caches = Caches::default();
        let mut dice = Dice(seed);
        for mut value in values {
            holds(&operator, &value, operator.test(&value, b"", &mut caches, None));
            sample(&hir, &mut dice, &mut value);
            holds(&operator, &value, operator.test(&value, b"", &mut caches, None));
        }
    }

    #[test]
    fn no_pattern_panics(pattern in "\\PC{0,24}", odd in r"[\\\[\](){}?*+^$|.\-:&~<>#=!,0-9a-zA-Z ]{0,24}") {
        for pattern in [pattern, odd] {
            if let Err(why) = compiled("rx", &pattern) {
                prop_assert!(why.at <= pattern.len(), "{pattern} {why:?}");
            }
        }
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(vec![
        "a", "b", "A", "ab", "bab0", "[aA]", "[ab]", "[^a]", "[01]", ".", r"\b", r"\d", "^", "$", "-", r"\.", "(?i)ab",
        r"\s",
    ]);
    atom.prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
        let quantifier = prop::sample::select(vec!["", "?", "*", "+", "{2}", "{1,3}", "{0,2}", "{2,}"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            (inner, quantifier).prop_map(|(part, quantifier)| format!("({part}){quantifier}")),
        ]
    })
}

/// The arguments of every `@rx` of the Core Rule Set, where it is at hand.
fn core_patterns() -> Option<Vec<String>> {
    let folder = std::env::var_os("TOLLGATE_CRS_DIR").unwrap_or_else(|| "../../../shared/crs".into());
    let mut files: Vec<_> = std::fs::read_dir(std::path::Path::new(&folder).join("rules"))
        .ok()?
        .flatten()
        .map(|file| file.path())
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "conf")) {
        let text = std::fs::read_to_string(file).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let Some((_, rest)) = line.split_once("@rx ") else { continue };
            let mut pattern = String::new();
            let mut chars = rest.chars().peekable();
            while let Some(char) = chars.next() {
                match char {
                    '"' => break,
                    '\\' if chars.peek() == Some(&'"') => pattern.extend(chars.next()),
                    '\\' => {
                        pattern.push('\\');
                        pattern.extend(chars.next());
                    }
                    _ => pattern.push(char),
                }
            }
            found.push(pattern);
        }
    }
    Some(found)
}
