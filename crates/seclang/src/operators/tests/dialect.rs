//! PCRE's dialect: what means something else elsewhere, and what is refused.

use super::{compiled, matches};

/// Rows of pattern, a value, whether it matches.
const CASES: &[(&str, &[u8], bool)] = &[
    // Possessive, read as greedy.
    (r"a\s++;", b"a  ;", true),
    ("a{2}+b", b"aab", true),
    // Look-around that can be written out.
    (r"<\?(?!xml)", b"<?xml version", false),
    (r"<\?(?!xml)", b"<?xm", true),
    (r"<\?(?!xml)", b"<?", true),
    (r"<\?(?!xml)", b"<?xml <?php", true),
    (r"(?i)<\?(?!xml)", b"<?XmL", false),
    ("(?<!&amp|&[aou]uml|lt);|=", b"a&amp;b", false),
    ("(?<!&amp|&[aou]uml|lt);|=", b"&auml;&ouml;", false),
    ("(?<!&amp|&[aou]uml|lt);|=", b"&iuml;", true),
    ("(?<!&amp|&[aou]uml|lt);|=", b"amp;", true),
    ("(?<!&amp|&[aou]uml|lt);|=", b";", true),
    ("(?<!&amp|&[aou]uml|lt);|=", b"&amp;;", true),
    ("(?<!&amp|&[aou]uml|lt);|=", b"lt;", false),
    ("(?<!&amp|&[aou]uml|lt);|=", b"&amp;=", true),
    // A word and the same word, or another.
    (r"(?i)\b(\w+)\s*(?:=\s*(?:\b\1\b)|<>\s*(?!\b\1\b)[\d\w]+)", b"a = A", true),
    (r"(?i)\b(\w+)\s*(?:=\s*(?:\b\1\b)|<>\s*(?!\b\1\b)[\d\w]+)", b"a = b", false),
    (r"(?i)\b(\w+)\s*(?:=\s*(?:\b\1\b)|<>\s*(?!\b\1\b)[\d\w]+)", b"a = ab", false),
    (r"(?i)\b(\w+)\s*(?:=\s*(?:\b\1\b)|<>\s*(?!\b\1\b)[\d\w]+)", b"a = b = b", true),
    (r"(?i)\b(\w+)\s*(?:=\s*(?:\b\1\b)|<>\s*(?!\b\1\b)[\d\w]+)", b"1 <> 1", false),
    (r"(?i)\b(\w+)\s*(?:=\s*(?:\b\1\b)|<>\s*(?!\b\1\b)[\d\w]+)", b"1 <> 1, 1 <> 2", true),
    (r"a\hb", b"a\xa0b", true),
    (r"a[\h]b", b"a\tb", true),
    (r"a\Hb", b"a b", false),
    (r"a\vb", b"a\x85b", true),
    (r"a\Vb", b"a\nb", false),
    (r"a\Rb", b"a\r\nb", true),
    (r"a\Nb", b"a\nb", false),
    (r"a\Z", b"a\n", true),
    (r"a\Z", b"a\n\n", false),
    (r"\Aa\z", b"a", true),
    (r"\Aa\z", b"a\n", false),
    (r"\Qa.b\E+", b"a.bb", true),
    (r"\Qa.b\E", b"axb", false),
    (r"\<a\>", b"<a>", true),
    (r"\e\cA\a", b"\x1b\x01\x07", true),
    (r"\0\012\x9\x", b"\0\n\t\0", true),
    (r"[\b]", b"\x08", true),
    (r"\bab\b", b"-ab-", true),
    ("[[]", b"[", true),
    ("[]a]", b"]", true),
    ("[^]a]", b"]", false),
    ("[a&&b]", b"&", true),
    ("[a~~b]", b"~", true),
    ("[+--]", b",", true),
    ("[+--]", b".", false),
    (r"[\w-.]", b"-", true),
    (r"[\w-.]", b".", true),
    (r"[a-\d]", b"-", true),
    ("[a-]", b"-", true),
    ("[-a]", b"-", true),
    ("[a-c-e]", b"d", false),
    ("[a-c-e]", b"-", true),
    ("[[:alpha:]_]", b"x", true),
    ("[[:^alpha:]]", b"x", false),
    ("[[:punct:]]", b"<", true),
    ("[:a]", b":", true),
    ("a{,5}", b"a{,5}", true),
    ("a{b}", b"a{b}", true),
    ("a{2}", b"aa", true),
    ("^a{2,}$", b"aaaa", true),
    ("{", b"{", true),
    ("a{2}?b", b"aab", true),
    ("(?i)abc", b"aBc", true),
    ("a(?i)b|C", b"c", true),
    ("(?i:a)b", b"Ab", true),
    ("(?i:a)b", b"AB", false),
    ("(?-s).", b"\n", false),
    (".", b"\n", true),
    ("(?x) a b # c (\n d", b"abd", true),
    ("(?x)[ ]", b" ", true),
    ("(?x: a b) c", b"ab c", true),
    ("a(?#comment)b", b"ab", true),
    ("(?<name>a)(?P<other>b)(?'third'c)", b"abc", true),
    ("(?:)a", b"a", true),
    ("é+", b"\xc3\xa9\xa9", true),
    ("[é]", b"\xa9", true),
    (r"\xe9", b"\xe9", true),
    (r"\s", b"\x0b", true),
    (r"\w", b"\xe9", false),
    ("a\\/b", b"a/b", true),
    ("a-b", b"a-b", true),
    ("#", b"#", true),
];

#[test]
fn patterns_mean_what_they_mean_to_pcre() {
    for &(pattern, value, expected) in CASES {
        assert_eq!(matches("rx", pattern, value), expected, "{pattern} on {}", value.escape_ascii());
    }
}

#[test]
fn what_needs_backtracking_is_refused_at_its_place() {
    let cases = [
        ("ab(?>c)", 2, "atomic"),
        ("a(?=b)", 1, "look-around"),
        ("a(?!b)c", 1, "look-around"),
        ("a(?!b+)", 1, "look-around"),
        ("(?:a(?!b))", 4, "look-around"),
        ("x(?<!a)b", 1, "look-around"),
        ("(?<!a+)b", 0, "look-around"),
        ("(?<=a)b", 0, "look-around"),
        (r"(a)\1", 3, "backreference"),
        (r"(a)\g{1}", 3, "backreference"),
        (r"(?<n>a)\k<n>", 7, "backreference"),
        (r"a\Kb", 1, "`\\K`"),
        ("(?R)", 0, "not supported"),
        ("(?|a|b)", 0, "not supported"),
        ("(?u)a", 0, "not supported"),
        (r"\x{100}", 0, "not a byte"),
        (r"\pL", 0, "property"),
        (r"a\y", 1, "unknown escape"),
        ("a\\", 1, "backslash"),
        ("ab[c", 2, "class without an end"),
        ("é)", 2, "unopened group"),
        ("a|*", 2, "repetition"),
        ("(?:a{1000}){1000}", 0, "compiled"),
    ];
    for (pattern, at, message) in cases {
        let why = compiled("rx", pattern).expect_err(pattern);
        assert!(why.message.contains(message), "{pattern}: {}", why.message);
        assert_eq!(why.at, at, "{pattern}: {}", why.message);
    }
}
