//! Operators: tables of cases, and the Core Rule Set's patterns where it is at hand.

use super::*;

struct NoFiles;

impl Files for NoFiles {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "words.data" => Ok(b"# a comment\n alpha \n\nBeta\r\n#gamma\n".to_vec()),
            "nets.data" => Ok(b"10.0.0.0/8 # ours\n\n::1\n".to_vec()),
            _ => Err("no such file".to_owned()),
        }
    }
}

fn compiled(name: &str, argument: &str) -> Result<Operator, Unusable> {
    Operator::compile(name, argument, false, &mut Env { files: &mut NoFiles, patterns: &mut Patterns::default() })
}

fn matches(name: &str, argument: &str, value: &[u8]) -> bool {
    let operator = compiled(name, argument).unwrap_or_else(|why| panic!("@{name} {argument}: {why:?}"));
    let mut captures = Captures::default();
    let plain = operator.test(value, argument.as_bytes(), &mut Caches::default(), None);
    let captured = operator.test(value, argument.as_bytes(), &mut Caches::default(), Some(&mut captures));
    assert_eq!(plain, captured, "@{name} {argument} on {value:?}: captures change the verdict");
    assert!(plain || captures == Captures::default(), "@{name}: captures without a match");
    plain
}

#[test]
fn every_pattern_of_the_core_rule_set_compiles() {
    let Some(patterns) = crs_patterns() else { return };
    let mut library = Patterns::default();
    let started = std::time::SystemTime::UNIX_EPOCH;
    let _ = started;
    for pattern in &patterns {
        if let Err(why) = library.rx(pattern) {
            panic!("{pattern}: {why:?}");
        }
    }
    assert!(patterns.len() >= 318, "{}", patterns.len());
}

/// The arguments of every `@rx` of the Core Rule Set, where it is at hand.
fn crs_patterns() -> Option<Vec<String>> {
    let folder = option_env!("TOLLGATE_CRS_DIR").unwrap_or("../shared/crs");
    let mut files: Vec<_> =
        std::fs::read_dir(format!("{folder}/rules")).ok()?.flatten().map(|file| file.path()).collect();
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
