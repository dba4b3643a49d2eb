//! Counts as tiktoken's, and its time on texts that are made to be slow.

use super::{BYTES_PER_TOKEN, Counter, Unloadable};

#[test]
fn estimates_round_up_and_bound_themselves() {
    let counter = Counter::load("bytes").expect("it is always there");
    for (bytes, tokens) in [(0, 0), (1, 1), (4, 1), (5, 2), (42, 10), (43, 11)] {
        assert_eq!(counter.count(&"x".repeat(bytes)), tokens, "{bytes} bytes / {BYTES_PER_TOKEN}");
        assert_eq!(counter.range(bytes as u64), tokens..=tokens);
    }
    assert_eq!(Counter::bytes(2.0).expect("a ratio").count("abc"), 2);
    for ratio in [0.0, -1.0, 0.2, f64::NAN, f64::INFINITY] {
        assert!(matches!(Counter::bytes(ratio), Err(Unloadable::Ratio)), "{ratio}");
    }
    // Whoever makes the variant by hand gets no infinity.
    assert_eq!(Counter::Bytes { per_token: 0.0 }.count("abc"), 12);
}

#[test]
fn names_that_are_none_say_which_there_are() {
    for name in ["", "O200K", "gpt-4o", "p50k", "tokenizer", "tokenizer.yaml"] {
        let error = Counter::load(name).expect_err(name).to_string();
        assert!(error.contains("`o200k`") && error.contains("`.json`"), "{error}");
    }
    let error = Counter::load("/nowhere/tokenizer.json").expect_err("no such file").to_string();
    assert!(error.contains("tokenizer"), "{error}");
}

#[cfg(feature = "tokens")]
#[test]
fn every_text_has_the_tokens_that_tiktoken_finds() {
    // Text, o200k, cl100k: by tiktoken with its own patterns, and by gpt-tokenizer, which brings its own vocabulary.
    let rows: &[(&str, u64, u64)] = &[
        ("", 0, 0),
        ("a", 1, 1),
        (" ", 1, 1),
        ("Hello, world!", 4, 4),
        ("The quick brown fox jumps over the lazy dog.", 10, 10),
        ("I'm sure they'll say it'sn't 'DONE'.", 9, 13),
        ("3.14159265358979323846264338327950288", 14, 14),
        ("2026-11-20T10:06:37Z", 13, 13),
        ("fn main() { println!(\"{}\", 1 << 20); }\n", 13, 13),
        ("    if x:\n        return None\n\n\n", 8, 8),
        ("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", 17, 16),
        ("<|endoftext|>", 7, 7),
        ("<|im_start|>system\nYou are<|im_end|>", 16, 16),
        ("Füße, Äpfel und Öl: größer als 3 €", 15, 17),
        ("L'élève a mangé où il fut né", 10, 11),
        ("Привет, как дела?", 6, 8),
        ("你好,世界。今天天气怎么样?", 9, 17),
        ("日本語のテキストを数える。", 10, 13),
        ("안녕하세요 세계", 3, 9),
        ("مرحبا بالعالم", 4, 10),
        ("नमस्ते दुनिया", 5, 13),
        ("👩\u{200d}👩\u{200d}👧\u{200d}👦🏳\u{fe0f}\u{200d}🌈🇩🇪", 21, 33),
        ("e\u{301} versus é", 4, 4),
        ("\t\t\tx\r\n\r\n  y  ", 6, 6),
        ("a\u{0}b\u{1}c", 5, 5),
        ("ZWSP\u{200b}here\u{a0}nbsp\u{2003}em", 8, 9),
        ("https://example.org/a/b?c=d&e=%20#f", 14, 14),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 5, 5),
        ("aGVsbG8gd29ybGQgdGhpcyBpcyBiYXNlNjQ=", 22, 27),
        ("DROP TABLE users; -- ' OR 1=1", 11, 11),
        ("ǅ İstanbul ﬁ Ⅷ ½ ١٢٣", 13, 18),
        ("𝕏𝕠 mixed \u{fffd}\u{feff} end   ", 11, 11),
    ];
    assert!(rows.len() >= 30);
    let o200k = Counter::load("o200k").expect("it is in the build");
    let cl100k = Counter::load("cl100k").expect("it is in the build");
    for (text, newer, older) in rows {
        assert_eq!((o200k.count(text), cl100k.count(text)), (*newer, *older), "{text:?}");
        for (counter, count) in [(&o200k, newer), (&cl100k, older)] {
            assert!(counter.range(text.len() as u64).contains(count), "{text:?} by {counter}");
        }
    }
}

#[cfg(feature = "tokens")]
#[test]
fn no_token_is_longer_than_the_bound_of_the_range() {
    for tokenizer in [bpe_openai::o200k_base(), bpe_openai::cl100k_base()] {
        let ids = 0..u32::try_from(tokenizer.bpe.num_tokens()).expect("a vocabulary");
        let longest = ids.map(|id| tokenizer.bpe.token_len(id) as u64).max();
        assert_eq!(longest, Some(super::LONGEST));
    }
}

/// Counters that merge pairs take minutes for one of these (tiktoken issue 195).
#[cfg(feature = "tokens")]
#[test]
fn texts_that_are_one_piece_are_counted_in_linear_time() {
    const SIZE: usize = 64 << 10;
    for counter in ["o200k", "cl100k"].map(|name| Counter::load(name).expect("it is in the build")) {
        for (unit, most) in
            [("a", SIZE / 2), (" ", SIZE / 64), ("ab", SIZE), ("\n", SIZE), ("é", SIZE), ("=", SIZE / 2), ("中", SIZE)]
        {
            let text = unit.repeat(SIZE / unit.len());
            #[expect(clippy::disallowed_methods, reason = "a test measures")]
            let started = std::time::Instant::now();
            let count = counter.count(&text);
            // 0.4 ms in a release build on an idle core.
            assert!(started.elapsed() < std::time::Duration::from_secs(2), "{unit:?}: {:?}", started.elapsed());
            assert!(count > 0 && count <= most as u64, "{unit:?}: {count}");
        }
    }
}

#[cfg(feature = "tokenizers")]
mod custom {
    use super::{Counter, Unloadable};

    /// Six words, and a file that would cut every text to two of them.
    const WORDS: &str = r#"{"version":"1.0","truncation":{"direction":"Right","max_length":2,"strategy":"LongestFirst","stride":0},
        "padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
        "model":{"type":"WordLevel","vocab":{"a":0,"model":1,"reads":2,"this":3,"text":4,"?":5},"unk_token":"?"}}"#;

    #[test]
    fn a_tokenizer_of_its_own_counts_all_of_a_text() {
        let folder = std::env::temp_dir().join(format!("tollgate-tokens-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("tokenizer.json");
        std::fs::write(&path, WORDS).expect("a file");
        let counter = Counter::load(path.to_str().expect("a path")).expect("a tokenizer");
        assert_eq!(counter.count("a model reads this text or another"), 7);
        assert_eq!(counter.count(""), 0);
        std::fs::write(&path, "{}").expect("a file");
        let error = Counter::load(path.to_str().expect("a path")).expect_err("no tokenizer");
        assert!(matches!(error, Unloadable::File(_)), "{error}");
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
