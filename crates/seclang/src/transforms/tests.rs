//! Transformations: a table of cases for each, and properties of all.

use proptest::prelude::*;

use super::*;

/// Rows of name, input, result.
const CASES: &[(&str, &[u8], &[u8])] = &[
    ("base64Decode", b"VGVzdENhc2U=", b"TestCase"),
    ("base64Decode", b"VGVzd!ENhc2U=", b"Tes"),
    ("base64Decode", b"VGVzd", b"Tes"),
    ("base64Decode", b"VGVzdA", b"Test"),
    ("base64Decode", b"VGVzdEM", b"TestC"),
    ("base64Decode", b"VGVz=dENhc2U=", b"Tes"),
    ("base64Decode", b"!", b""),
    ("base64DecodeExt", b"VG!Vz dE.Nhc2U=", b"TestCase"),
    ("base64Encode", b"TestCase", b"VGVzdENhc2U="),
    ("base64Encode", b"abc", b"YWJj"),
    ("base64Encode", b"a", b"YQ=="),
    ("cmdLine", b"c^m\"d\" /c 'dir'", b"cmd/c dir"),
    ("cmdLine", b"CAT ,;\t\r\n  /etc/passwd", b"cat/etc/passwd"),
    ("cmdLine", b"a,b;c  d", b"a b c d"),
    ("cmdLine", b"test (x)", b"test(x)"),
    ("cmdLine", b"a \\ ^ b", b"a b"),
    ("compressWhitespace", b"a \t\n\x0b\x0c\r b", b"a b"),
    ("compressWhitespace", b"a\tb", b"a b"),
    ("compressWhitespace", "à à".as_bytes(), "à à".as_bytes()),
    ("cssDecode", b"test\\a", b"test\x0a"),
    ("cssDecode", b"ja\\vascript", b"javascript"),
    ("cssDecode", b"j\\0061vascript", b"javascript"),
    ("cssDecode", b"j\\000061vascript", b"javascript"),
    ("cssDecode", b"j\\61 vascript", b"javascript"),
    ("cssDecode", b"j\\61  vascript", b"ja vascript"),
    ("cssDecode", b"j\\ff41 vascript", b"javascript"),
    ("cssDecode", b"j\\0ff41vascript", b"javascript"),
    ("cssDecode", b"j\\00ff41vascript", b"javascript"),
    ("cssDecode", b"j\\10ff41vascript", b"jAvascript"),
    ("cssDecode", b"java\\\nscript", b"javascript"),
    ("cssDecode", b"a\\", b"a"),
    ("cssDecode", b"\\123 x", b"\x23x"),
    ("escapeSeqDecode", b"\\a\\b\\f\\n\\r\\t\\v\\?\\'\\\"\\\\", b"\x07\x08\x0c\n\r\t\x0b?'\"\\"),
    ("escapeSeqDecode", b"\\x41\\101\\0\\60\\z", b"AA\x000z"),
    ("escapeSeqDecode", b"\\xag\\777\\8", b"xag\xff8"),
    ("escapeSeqDecode", b"a\\", b"a\\"),
    ("hexDecode", b"546573744361736", b"TestCas"),
    ("hexDecode", b"5465zz", b"Te"),
    ("hexEncode", b"Test\0\xff", b"5465737400ff"),
    ("htmlEntityDecode", b"&#x3C;&#60;&lt;&LT&quot&amp;&nbsp;&gt;", b"<<<<\"&\xa0>"),
    ("htmlEntityDecode", b"&ltscript", b"<script"),
    ("htmlEntityDecode", b"&#x0000000000000000000000003c;", b"<"),
    ("htmlEntityDecode", b"&#316;", b"<"),
    ("htmlEntityDecode", b"&#x3cscript&#60script", b"<script<script"),
    ("htmlEntityDecode", b"&#x;&#;&#&foo;&&", b"&#x;&#;&#&foo;&&"),
    ("htmlEntityDecode", b"&amp;lt;", b"&lt;"),
    ("jsDecode", b"\\u0041\\uff41\\uff00\\u0100", b"Aa\0\0"),
    ("jsDecode", b"\\x41\\101\\0\\47\\477", b"AA\0''7"),
    ("jsDecode", b"\\a\\b\\f\\n\\r\\t\\v\\z\\'", b"\x07\x08\x0c\n\r\t\x0bz'"),
    ("jsDecode", b"\\u00zz\\xzz\\8", b"u00zzxzz8"),
    ("jsDecode", b"a\\", b"a\\"),
    ("length", b"", b"0"),
    ("length", b"0123456789ab", b"12"),
    ("lowercase", b"TestCase\0\xc4", b"testcase\0\xc4"),
    ("normalizePath", b"/foo/./bar//../baz/", b"/foo/baz/"),
    ("normalizePath", b"/../../etc/passwd", b"/etc/passwd"),
    ("normalizePath", b"../../etc/passwd", b"../../etc/passwd"),
    ("normalizePath", b"a/../../b", b"../b"),
    ("normalizePath", b"./a", b"a"),
    ("normalizePath", b"a/b/..", b"a"),
    ("normalizePath", b"/a/..", b"/"),
    ("normalizePath", b"..", b".."),
    ("normalizePath", b"../..", b"../.."),
    ("normalizePath", b"../../..", b"../../.."),
    ("normalizePath", b"../a/..", b".."),
    ("normalizePath", b"dir//foo", b"dir/foo"),
    ("normalizePath", b"a..b/...", b"a..b/..."),
    ("normalizePath", b"\\a\\..\\b", b"\\a\\..\\b"),
    ("normalizePathWin", b"c:\\a\\..\\b\\", b"c:/b/"),
    ("normalizePathWin", b"\\foo\\bar/..\\baz", b"/foo/baz"),
    ("parityEven7bit", b"abc", b"\xe1\xe2c"),
    ("parityOdd7bit", b"abc", b"ab\xe3"),
    ("parityZero7bit", b"\xe1b\xe3", b"abc"),
    ("removeComments", b"a/* x */b<!-- y -->c", b"abc"),
    ("removeComments", b"a -- b", b"a  "),
    ("removeComments", b"a#b", b"a "),
    ("removeComments", b"a/*b", b"a "),
    ("removeCommentsChar", b"a/*b*/c--d#e<!--f-->g", b"abcdefg"),
    ("removeCommentsChar", b"a/b*c-d<e", b"a/b*c-d<e"),
    ("removeNulls", b"a\0b\0\0", b"ab"),
    ("removeWhitespace", b" a\t\n\x0b\x0c\rb\xc2\xa0c ", b"abc"),
    ("replaceComments", b"a/* x */b/**/c", b"a b c"),
    ("replaceComments", b"a/* x", b"a "),
    ("replaceComments", b"a*/b", b"a*/b"),
    ("replaceComments", b"a/*/b*/c", b"a c"),
    ("replaceNulls", b"a\0b", b"a b"),
    ("sqlHexDecode", b"x=0x414243 0xzz 0x4", b"x=ABC 0xzz 0x4"),
    ("sqlHexDecode", b"0X414", b"A4"),
    ("trim", b" \t a b \n\x0b", b"a b"),
    ("trimLeft", b" \t a ", b"a "),
    ("trimRight", b" a \r\n", b" a"),
    ("trim", b"  ", b""),
    ("uppercase", b"TestCase", b"TESTCASE"),
    ("urlDecode", b"a%20b+c%zz%u0041%", b"a b c%zz%u0041%"),
    ("urlDecodeUni", b"%u0041%uff1c%UFF1C%u013c%2B+%u00zz%u41%", b"A<<<+ %u00zz%u41%"),
    ("urlDecodeUni", b"%uff5f%uff00", b"_\0"),
    ("urlDecodeUni", b"%%41", b"%A"),
    ("urlEncode", b"a b*<\xff", b"a+b*%3c%ff"),
    ("utf8toUnicode", "aé€😀".as_bytes(), b"a%u00e9%u20ac%u1f600"),
    ("utf8toUnicode", b"\xc0\xaf\xff\xed\xa0\x80", b"\xc0\xaf\xff\xed\xa0\x80"),
];

#[test]
fn every_row_of_the_table_holds() {
    for &(name, input, expected) in CASES {
        let transform = Transform::from_name(name).unwrap_or_else(|| panic!("{name}"));
        let result = transform.apply(input, &Tables::default());
        assert_eq!(
            result.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{name} of {}",
            input.escape_ascii()
        );
    }
}

#[test]
fn every_transformation_has_a_row_or_is_a_digest() {
    for transform in Transform::ALL {
        let rows = CASES.iter().filter(|(name, ..)| *name == transform.name()).count();
        let digest = matches!(transform, Transform::Md5 | Transform::Sha1);
        assert!(rows > 0 || digest, "{}", transform.name());
    }
}

#[test]
fn digests_are_raw() {
    let hex = |transform: Transform| {
        let digest = transform.apply(b"abc", &Tables::default()).into_owned();
        String::from_utf8(Transform::HexEncode.apply(&digest, &Tables::default()).into_owned()).unwrap()
    };
    assert_eq!(hex(Transform::Sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(hex(Transform::Md5), "900150983cd24fb0d6963f7d28e17f72");
}

#[test]
fn a_code_page_wins_over_the_low_byte() {
    let tables = Tables::with_unicode(vec![(0xff1c, b'{'), (0x2215, b'/'), (0x41, b'a')]);
    let result = Transform::UrlDecodeUni.apply(b"%u2215%uff1c%u0041%u0142", &tables);
    assert_eq!(&*result, b"/{aB");
}

#[test]
fn names_are_found_in_any_case_and_with_their_british_spelling() {
    for transform in Transform::ALL {
        assert_eq!(Transform::from_name(&transform.name().to_ascii_uppercase()), Some(*transform));
    }
    assert_eq!(Transform::from_name("normalisePathWin"), Some(Transform::NormalizePathWin));
    assert_eq!(Transform::from_name("none"), None);
}

/// Values of few distinct bytes, rich in what transformations look for.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let syntax = prop::sample::select(b"%u+&#x;\\/.*-<!>0123abfFnltgq \t\n\r,;^\"'(A=\0\x7f\xa0\xc2\xc3\xff".to_vec());
    let words = prop::sample::select(vec![
        &b"%u00"[..],
        b"&#x3c",
        b"&lt",
        b"\\u00",
        b"/*",
        b"*/",
        b"<!--",
        b"-->",
        b"../",
        b"0x41",
        b"\\x4",
        "é€😀".as_bytes(),
    ]);
    let piece = prop_oneof![
        4 => syntax.prop_map(|byte| vec![byte]),
        2 => words.prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn proofs_are_sound_and_results_are_bounded(value in values()) {
        let set = ByteSet::of(&value);
        for &transform in Transform::ALL {
            let result = transform.apply(&value, &Tables::default());
            let name = transform.name();
            prop_assert_eq!(matches!(result, Cow::Borrowed(out) if out.len() == value.len()), *result == value, "{}", name);
            prop_assert!(ByteSet::of(&result).is_subset(&transform.transfer(set)), "{} escapes its transfer", name);
            prop_assert!(result.len() <= 3 * value.len() + 40, "{} grows", name);
            if transform.triggers().is_some_and(|triggers| triggers.is_disjoint(&set)) {
                prop_assert_eq!(&*result, &value[..], "{} changes without a trigger", name);
            }
        }
    }
}

#[test]
fn long_hostile_values_take_linear_time() {
    // A square would take minutes: that the test ends is half of the assertion.
    let units: &[&[u8]] = &[
        b"%",
        b"%u",
        b"&#",
        b"&#1",
        b"\\",
        b"\\x",
        b"/*",
        b"*/",
        b"<!--",
        b"../",
        b"a/../",
        b"//",
        b"0x4",
        b"\xe2\x82",
        b" ",
        b"(",
        b"--",
    ];
    for unit in units {
        let value = unit.repeat((256 << 10) / unit.len());
        for &transform in Transform::ALL {
            assert!(transform.apply(&value, &Tables::default()).len() <= 3 * value.len() + 40);
        }
    }
}
