//! Files that are refused, and files that nobody made.

use proptest::prelude::*;

use super::build::{
    animation, bmp, boxed, brands, canvas, chunk, drawn, ebml, extents, flac, frame_header, gif, jpeg, lossless, lossy,
    movie, mp3, opus, page, png, riff, segment, tag, tiff, track, wav,
};
use super::{both, found};

const CUT: &str = "a file that is cut off";
const EMPTY: &str = "a picture without pixels";

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let film = [brands(&[b"isom"]), movie(1, &[]), movie(2, &[])].concat();
    let rows = [
        ("png without a width", png(0, 5, b""), EMPTY),
        ("png without a height", png(5, 0, b""), EMPTY),
        ("png with a side of 2^31", png(1 << 31, 1, b""), "a side of more than 2^31 - 1 pixels"),
        ("png of no frames", png(1, 1, &animation(0)), "no picture"),
        ("png with two numbers of frames", png(1, 1, &[animation(1), animation(9)].concat()), "two acTL chunks"),
        ("png with two headers", png(1, 1, &chunk(b"IHDR", &[9; 13])), "two IHDR chunks"),
        ("png without pixels", png(1, 1, &chunk(b"IEND", b"")), "no pixels"),
        ("png with another first chunk", png(1, 1, b"").replace(b"IHDR", b"tEXt"), "a first chunk other than IHDR"),
        ("jpeg without a height", jpeg(&[&frame_header(0xc0, 5, 0)]), EMPTY),
        ("jpeg of two sizes", jpeg(&[&frame_header(0xc0, 1, 1), &frame_header(0xc2, 9999, 9999)]), "two frame headers"),
        ("jpeg without a frame", jpeg(&[&segment(0xe0, b"JFIF")]), "a scan without a frame header"),
        ("jpeg with junk", jpeg(&[&segment(0xe0, b"JFIF"), b"junk"]), "bytes between two markers"),
        ("jpeg in a jpeg", jpeg(&[b"\xff\xd8"]), "a marker that has no place before the picture"),
        ("jpeg with a short segment", jpeg(&[b"\xff\xe0\0\x01"]), "a segment shorter than its length"),
        ("gif of nothing", gif(5, 5, &[]), "no picture"),
        ("gif with an empty picture", gif(5, 5, &[[0, 0, 0, 5]]), EMPTY),
        ("gif and script", b"GIF89a/*!!!!!!!!!!!!!!!!*/=alert(1)//;".to_vec(), CUT),
        (
            "gif with a block of no kind",
            [b"GIF89a\x01\0\x01\0\0\0\0".as_slice(), b"\x01,"].concat(),
            "a block of no kind",
        ),
        ("bmp without a width", bmp(40, 0, 1), EMPTY),
        ("bmp of a negative width", bmp(40, -5, 1), "a width below zero"),
        ("webp without a size", riff(b"WEBP", &[&lossy(0, 5)]), EMPTY),
        (
            "webp between key frames",
            riff(b"WEBP", &[&lossy(5, 5)]).replace(b"\x10\0\0\x9d", b"\x11\0\0\x9d"),
            "no key frame",
        ),
        (
            "webp larger than its canvas",
            riff(b"WEBP", &[&canvas(0, 1, 1), &lossless(9999, 9999)]),
            "a picture of another size than its canvas",
        ),
        (
            "webp with a frame beyond",
            riff(b"WEBP", &[&canvas(2, 9, 9), &drawn(8, 0, 2, 2)]),
            "a frame beyond its canvas",
        ),
        ("webp of no frames", riff(b"WEBP", &[&canvas(2, 9, 9)]), "no picture"),
        ("webp with two canvases", riff(b"WEBP", &[&canvas(2, 9, 9), &canvas(2, 1, 1)]), "two header chunks"),
        ("webp of another chunk", riff(b"WEBP", &[&super::build::riff_chunk(b"EXIF", &[0; 20])]), "a chunk of no kind"),
        ("tiff without pixels", tiff(false, false, &[[0, 5]], 0), EMPTY),
        ("tiff whose pages are a ring", tiff(false, false, &[[5, 5]], 8), "more entries than fit"),
        ("tiff of too many pages", tiff(true, true, &[[1, 1]; 4097], 0), "more than 4096 pages"),
        ("tiff that points nowhere", tiff_nowhere(), CUT),
        ("tiff that points outside", tiff(true, false, &[[5, 5]], 0x7fff_ffff), CUT),
        ("heif of no picture", [brands(&[b"heic"]), boxed(b"meta", &[&[0; 4]])].concat(), EMPTY),
        ("avif without pixels", [brands(&[b"avif"]), extents(&[[9, 9], [0, 9]])].concat(), EMPTY),
        ("film of two headers", film, "two film headers"),
        ("film of no header", brands(&[b"isom"]), "a film without a header"),
        ("box in no room", [brands(&[b"isom"]), b"\0\0\0\x07free".to_vec()].concat(), "a box shorter than its header"),
        ("box beyond its parent", [brands(&[b"isom"]), b"\x7f\xff\xff\xfffree".to_vec()].concat(), CUT),
        (
            "box as long as can be",
            [brands(&[b"isom"]), b"\0\0\0\x01free\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()].concat(),
            CUT,
        ),
        ("wav without sound", wav(1, 0, 8000, 8, 5), "a format without sound"),
        ("wav of no rate", wav(1, 1, 0, 8, 5), "a format without sound"),
        ("mp3 of tags alone", [tag(9), tag(9)].concat(), "no frame"),
        ("flac of no rate", flac(0, 5), "a rate of nothing"),
        ("ogg with junk", [opus(0), b"junk".to_vec()].concat(), "bytes between two pages"),
        ("ogg of no rate", page(2, 0, b"\x01vorbis\0\0\0\0\x01\0\0\0\0..."), "a rate of nothing"),
        ("ebml of another type", ebml(b"other"), "EBML of another type"),
        ("ebml of no type", b"\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01....".to_vec(), "EBML of no type"),
    ];
    for (name, file, flaw) in rows {
        for declared in [None, Some("application/octet-stream"), Some("image/png"), Some("audio/wav")] {
            assert_eq!(found(both(&file, declared)).as_deref(), Some(flaw), "{name}, {declared:?}");
        }
    }
}

/// Its first page is at the last address there is.
fn tiff_nowhere() -> Vec<u8> {
    [b"II+\0\x08\0\0\0".as_slice(), &[0xff; 8]].concat()
}

#[test]
fn a_format_that_contradicts_itself_tells_no_length() {
    let mut file = wav(1, 2, 44_100, 16, 400);
    // Bytes of a sample: a decoder that believes them plays a thousandth of the file.
    file[32] = 0xff;
    assert_eq!(found(both(&file, None)).as_deref(), Some("a format that contradicts itself"));
}

/// Of each kind, and the bytes of it that a reader has to see.
fn whole() -> Vec<(Vec<u8>, usize)> {
    let pages = tiff(true, true, &[[1, 2], [3, 4]], 0);
    let film = [brands(&[b"isom"]), movie(9, &[&track(b"vide", [6, 4], 2)])].concat();
    let still = [brands(&[b"avif"]), extents(&[[4, 4]])].concat();
    let length = |file: &Vec<u8>| file.len();
    vec![
        (png(5, 4, &animation(3)), 61),
        (jpeg(&[&segment(0xe0, b"JFIF"), &frame_header(0xc0, 5, 4)]), 25),
        (bmp(40, 5, 4), 54),
        (riff(b"WEBP", &[&lossy(5, 4)]), 30),
        (riff(b"WEBP", &[&canvas(2, 9, 9), &drawn(0, 0, 9, 9)]), 60),
        (pages.clone(), length(&pages)),
        (film.clone(), length(&film)),
        (still.clone(), length(&still)),
        (wav(1, 1, 8000, 8, 4), 52),
        (flac(8000, 8), 42),
        (ebml(b"webm"), 16),
    ]
}

#[test]
fn a_file_that_is_cut_before_its_header_ends_is_never_taken() {
    for (file, needed) in whole() {
        assert!(both(&file, None).is_ok(), "{file:?}");
        for end in 0..needed {
            let read = both(&file[..end], None);
            assert!(read.is_err(), "{:?} of {file:?} is {read:?}", &file[..end]);
        }
    }
}

#[test]
fn a_file_behind_another_is_not_what_it_claims() {
    let polyglots = [
        ([png(1, 1, b""), b"%PDF-1.7".to_vec()].concat(), "application/pdf"),
        ([gif(1, 1, &[[0, 0, 1, 1]]), b"PK\x03\x04".to_vec()].concat(), "application/zip"),
        ([jpeg(&[&frame_header(0xc0, 1, 1)]), b"<script>".to_vec()].concat(), "text/html"),
        ([wav(1, 1, 8000, 8, 8), mp3(3)].concat(), "audio/mpeg"),
        ([mp3(3), flac(1, 1)].concat(), "audio/flac"),
    ];
    for (file, declared) in polyglots {
        assert!(found(both(&file, Some(declared))).is_some(), "{declared}");
        assert!(both(&file, None).is_ok(), "{declared}");
    }
}

#[test]
fn what_is_unknown_is_taken_only_where_it_was_not_said_to_be_known() {
    for unknown in ["<svg/>......", "BM is a brand", "\u{feff}utf-16 mark", "12", "", "\0\0\0\0\0\0\0\0\0\0\0\0"] {
        for declared in
            ["image/svg+xml", "Image/x-icon", "audio/L16", "video/mp4", "application/pdf", "application/ogg", ""]
        {
            let declared = (!declared.is_empty()).then_some(declared);
            assert_eq!(
                found(both(unknown.as_bytes(), declared)).as_deref(),
                Some("bytes of no known kind"),
                "{unknown}"
            );
        }
        for declared in ["application/octet-stream", "text/csv", "application/json", "font/ttf"] {
            let kind = both(unknown.as_bytes(), Some(declared)).map(|media| media.kind);
            assert_eq!(kind, Ok("application/octet-stream"), "{unknown}");
        }
    }
    // A text that begins like a picture is a text.
    assert!(both(b"GIF89a is a format of 1989", Some("text/plain")).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn bytes_of_any_kind_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = both(&bytes, None);
    }

    #[test]
    fn changed_files_get_an_answer_that_holds_together(
        which in 0..11_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
    ) {
        let (mut file, _) = whole().swap_remove(which);
        for (place, byte) in changes {
            *place.get_mut(&mut file) = byte;
        }
        let cut = end.index(file.len() * 4);
        file.truncate(cut.max(1));
        if let Ok(media) = both(&file, None) {
            prop_assert_eq!(media.bytes, file.len() as u64);
            prop_assert!(media.frames > 0);
            prop_assert!(!media.kind.starts_with("image/") || media.size.iter().all(|side| *side > 0));
            prop_assert!(!media.kind.starts_with("audio/") || media.size == [0, 0]);
        }
    }
}

/// The walks that take a step per byte or per few bytes: as long as the file, whatever it holds.
#[test]
fn the_densest_files_are_walked_once() {
    const SIZE: usize = 1 << 20;
    let gif_blocks = [b"GIF89a\x01\0\x01\0\0\0\0!\xf9".to_vec(), b"\x01x".repeat(SIZE / 2)].concat();
    let jpeg_fill = [b"\xff\xd8".to_vec(), vec![0xff; SIZE]].concat();
    let png_chunks =
        [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &[1; 13]), chunk(b"tEXt", b"").repeat(SIZE / 12)].concat();
    let boxes =
        [brands(&[b"isom"]), boxed(b"moov", &[&boxed(b"trak", &[&boxed(b"mdia", &[]).repeat(SIZE / 8)])])].concat();
    let junk = [b"ID3\x04\0\0\0\0\0\0".to_vec(), vec![0; SIZE]].concat();
    let pages = [opus(0), page(0, 1, b"").repeat(SIZE / 27)].concat();
    for file in [gif_blocks, jpeg_fill, png_chunks, boxes, junk, pages] {
        #[expect(clippy::disallowed_methods, reason = "a test measures")]
        let started = std::time::Instant::now();
        let _ = both(&file, None);
        // Hours, if each step looked at what is before it.
        assert!(
            started.elapsed() < std::time::Duration::from_secs(10),
            "{:?} for {:?}",
            started.elapsed(),
            &file[..16]
        );
    }
}

/// Files here are bytes, of which a few are spelled anew.
trait Replace {
    fn replace(self, from: &[u8; 4], to: &[u8; 4]) -> Self;
}

impl Replace for Vec<u8> {
    fn replace(mut self, from: &[u8; 4], to: &[u8; 4]) -> Self {
        let place = self.windows(4).position(|four| four == from).expect("it is in there");
        self[place..place + 4].copy_from_slice(to);
        self
    }
}
