//! Files that are taken, and what is said of them.

use super::build::{
    animation, bmp, boxed, brands, canvas, drawn, ebml, extents, flac, frame_header, gif, jpeg, lossless, lossy, movie,
    mp3, opus, page, png, riff, riff_chunk, segment, tag, tiff, track, wav,
};
use super::{both, found};

/// Name, file, kind, size, frames, milliseconds.
type Row = (&'static str, Vec<u8>, &'static str, [u32; 2], u32, Option<u64>);

fn check(rows: Vec<Row>) {
    for (name, file, kind, size, frames, duration) in rows {
        let media = both(&file, None).unwrap_or_else(|wrong| panic!("{name}: {wrong:?}"));
        let said = (media.kind, media.size, media.frames, media.duration_ms);
        assert_eq!(said, (kind, size, frames, duration), "{name}");
        assert_eq!((media.bytes, media.at), (file.len() as u64, 3..9), "{name}");
        // What it is said to be, it may be; what it is not, it may not.
        assert_eq!(both(&file, Some(kind)).map(|media| media.kind), Ok(kind), "{name}");
        let other = if kind == "image/webp" { "image/gif" } else { "image/webp" };
        assert_eq!(found(both(&file, Some(other))), Some(format!("`{kind}`")), "{name}");
        assert_eq!(found(both(&file, Some("text/plain"))), Some(format!("`{kind}`")), "{name}");
        assert!(both(&file, Some("application/octet-stream")).is_ok(), "{name}");
    }
}

#[test]
fn pictures_say_their_size_and_their_number() {
    let text = super::build::chunk(b"tEXt", b"a\0b");
    check(vec![
        ("png", png(640, 480, b""), "image/png", [640, 480], 1, None),
        ("png with text", png(1, 1, &text), "image/png", [1, 1], 1, None),
        ("png of ten gigapixels", png(100_000, 100_000, b""), "image/png", [100_000, 100_000], 1, None),
        ("png as wide as can be", png(0x7fff_ffff, 1, b""), "image/png", [0x7fff_ffff, 1], 1, None),
        ("apng", png(8, 9, &animation(7)), "image/png", [8, 9], 7, None),
        ("jpeg", jpeg(&[&frame_header(0xc0, 300, 200)]), "image/jpeg", [300, 200], 1, None),
        ("progressive jpeg", jpeg(&[&frame_header(0xc2, 300, 200)]), "image/jpeg", [300, 200], 1, None),
        (
            "jpeg with a thumbnail in its Exif, tables and fill bytes",
            jpeg(&[
                &segment(0xe1, &jpeg(&[&frame_header(0xc0, 9, 9)])),
                b"\xff\xff",
                &segment(0xc4, &[0; 20]),
                &frame_header(0xc1, 65_535, 2),
            ]),
            "image/jpeg",
            [65_535, 2],
            1,
            None,
        ),
        ("gif", gif(5, 6, &[[0, 0, 5, 6]]), "image/gif", [5, 6], 1, None),
        ("animated gif", gif(5, 6, &[[0, 0, 5, 6]; 40]), "image/gif", [5, 6], 40, None),
        (
            "gif whose second picture leaves the screen",
            gif(5, 6, &[[0, 0, 5, 6], [4, 0, 65_535, 6]]),
            "image/gif",
            [65_539, 6],
            2,
            None,
        ),
        ("bmp", bmp(40, 17, 19), "image/bmp", [17, 19], 1, None),
        ("bmp from top to bottom", bmp(124, 17, -19), "image/bmp", [17, 19], 1, None),
        ("bmp of OS/2", bmp(12, 17, 19), "image/bmp", [17, 19], 1, None),
        ("bmp as high as can be", bmp(40, 1, i32::MIN), "image/bmp", [1, 1 << 31], 1, None),
    ]);
}

#[test]
fn webp_says_its_size_in_three_forms() {
    check(vec![
        ("lossy", riff(b"WEBP", &[&lossy(320, 200)]), "image/webp", [320, 200], 1, None),
        // Two bits of each side scale the output of no decoder that we know.
        ("lossy and scaled", riff(b"WEBP", &[&lossy(0x4000 | 320, 0xc000 | 200)]), "image/webp", [320, 200], 1, None),
        ("lossless", riff(b"WEBP", &[&lossless(16_384, 1)]), "image/webp", [16_384, 1], 1, None),
        (
            "extended",
            riff(b"WEBP", &[&canvas(0x10, 7, 5), &riff_chunk(b"ALPH", b"x"), &lossy(7, 5)]),
            "image/webp",
            [7, 5],
            1,
            None,
        ),
        (
            "animated",
            riff(
                b"WEBP",
                &[&canvas(2, 700, 500), &riff_chunk(b"ANIM", &[0; 6]), &drawn(0, 0, 700, 500), &drawn(2, 4, 9, 9)],
            ),
            "image/webp",
            [700, 500],
            2,
            None,
        ),
    ]);
}

#[test]
fn tiff_says_its_pages_in_four_layouts() {
    let pages = [[7, 500], [900, 5], [3, 3]];
    check(vec![
        ("little", tiff(false, false, &pages[..1], 0), "image/tiff", [7, 500], 1, None),
        ("big", tiff(true, false, &pages, 0), "image/tiff", [900, 500], 3, None),
        ("little and wide", tiff(false, true, &pages, 0), "image/tiff", [900, 500], 3, None),
        ("big and wide", tiff(true, true, &[[u32::MAX, 1]], 0), "image/tiff", [u32::MAX, 1], 1, None),
        ("as many as we count", tiff(false, false, &[[1, 1]; 4096], 0), "image/tiff", [1, 1], 4096, None),
    ]);
}

#[test]
fn files_of_boxes_say_what_their_brands_promise() {
    let film = |brand, inner: &[u8]| [brands(&[brand]), inner.to_vec(), boxed(b"mdat", &[b"x"])].concat();
    let still = |list: &[&[u8; 4]], sizes: &[[u32; 2]]| [brands(list), extents(sizes)].concat();
    let sound = track(b"soun", [0, 0], 900);
    let fragment = boxed(b"moof", &[&boxed(b"traf", &[&boxed(b"trun", &[&[0; 4], &50_u32.to_be_bytes()])])]);
    check(vec![
        ("avif", still(&[b"avif", b"mif1"], &[[40, 30]]), "image/avif", [40, 30], 1, None),
        (
            "heic of tiles",
            still(&[b"heic"], &[[512, 512], [4032, 3024], [320, 240]]),
            "image/heic",
            [4032, 3024],
            1,
            None,
        ),
        ("heic whose coding comes second", still(&[b"mif1", b"heic"], &[[8, 8]]), "image/heic", [8, 8], 1, None),
        ("heif", still(&[b"mif1"], &[[8, 8]]), "image/heif", [8, 8], 1, None),
        (
            "avif sequence",
            [still(&[b"avis"], &[[40, 30]]), movie(500, &[&track(b"pict", [40, 31], 5)])].concat(),
            "image/avif",
            [40, 31],
            5,
            Some(500),
        ),
        ("m4a", film(b"M4A ", &movie(3300, &[&sound])), "audio/mp4", [0, 0], 1, Some(3300)),
        (
            "film",
            film(b"isom", &movie(2000, &[&sound, &track(b"vide", [64, 48], 20)])),
            "video/mp4",
            [64, 48],
            20,
            Some(2000),
        ),
        (
            "film of unknown length",
            film(b"mp42", &movie(u32::MAX, &[&track(b"vide", [6, 4], 2)])),
            "video/mp4",
            [6, 4],
            2,
            None,
        ),
        (
            "film in fragments",
            film(b"iso5", &[movie(0, &[&track(b"vide", [6, 4], 0)]), fragment.repeat(2)].concat()),
            "video/mp4",
            [6, 4],
            100,
            None,
        ),
        (
            "quicktime",
            film(b"qt  ", &movie(2000, &[&track(b"vide", [6, 4], 2)])),
            "video/quicktime",
            [6, 4],
            2,
            Some(2000),
        ),
        ("webm", ebml(b"webm"), "video/webm", [0, 0], 1, None),
        ("matroska", ebml(b"matroska"), "video/x-matroska", [0, 0], 1, None),
        ("pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec(), "application/pdf", [0, 0], 1, None),
    ]);
}

#[test]
fn sounds_say_how_long_they_are() {
    let chained = [opus(312), page(4, 48_312, b"x"), opus(0), page(4, 24_000, &[0; 700])].concat();
    let vorbis =
        [page(2, 0, b"\x01vorbis\0\0\0\0\x01\x44\xac\0\0............"), page(4, 44_100, b"x"), page(0, -1, b"x")]
            .concat();
    let mut unknown = wav(1, 1, 8000, 8, 4000);
    let size = unknown.len() - 4004;
    unknown[size..size + 4].copy_from_slice(&[0xff; 4]);
    check(vec![
        ("wav", wav(1, 2, 44_100, 16, 44_100 * 4), "audio/wav", [0, 0], 1, Some(1000)),
        ("wav of floats", wav(3, 1, 8000, 32, 16_000), "audio/wav", [0, 0], 1, Some(500)),
        ("wav of mu-law", wav(7, 1, 8000, 8, 12_000), "audio/wav", [0, 0], 1, Some(1500)),
        ("wav of a codec", wav(0x55, 1, 8000, 8, 12_000), "audio/wav", [0, 0], 1, None),
        ("wav written to a pipe", unknown, "audio/wav", [0, 0], 1, Some(500)),
        ("mp3", mp3(100), "audio/mpeg", [0, 0], 1, Some(2613)),
        (
            "mp3 behind two tags, with one at the end",
            [tag(60), tag(0), mp3(2), b"TAG".to_vec()].concat(),
            "audio/mpeg",
            [0, 0],
            1,
            Some(53),
        ),
        ("mp3 with bytes in between", [mp3(2), vec![0; 99], mp3(1)].concat(), "audio/mpeg", [0, 0], 1, Some(79)),
        ("mp3 that is lost", [mp3(2), vec![0; 70_000], mp3(1)].concat(), "audio/mpeg", [0, 0], 1, None),
        ("flac", flac(48_000, 72_000), "audio/flac", [0, 0], 1, Some(1500)),
        ("flac behind a tag", [tag(3), flac(48_000, 72_000)].concat(), "audio/flac", [0, 0], 1, Some(1500)),
        ("flac of unknown length", flac(48_000, 0), "audio/flac", [0, 0], 1, None),
        ("opus", [opus(312), page(4, 48_312, b"x")].concat(), "audio/ogg", [0, 0], 1, Some(1000)),
        ("opus, one after another", chained, "audio/ogg", [0, 0], 1, Some(1500)),
        ("vorbis", vorbis, "audio/ogg", [0, 0], 1, Some(1000)),
        ("theora", page(2, 0, b"\x80theora..."), "video/ogg", [0, 0], 1, None),
    ]);
}

#[test]
fn other_names_of_a_kind_are_taken() {
    let rows = [
        (png(1, 1, b""), "IMAGE/PNG; q=1"),
        (jpeg(&[&frame_header(0xc0, 1, 1)]), "image/jpg"),
        (mp3(2), "audio/mp3"),
        (wav(1, 1, 8000, 8, 8), "audio/x-wav"),
        (ebml(b"webm"), "audio/webm"),
        ([brands(&[b"heic"]), extents(&[[1, 1]])].concat(), "image/heif"),
    ];
    for (file, declared) in rows {
        assert!(both(&file, Some(declared)).is_ok(), "{declared}");
    }
}
