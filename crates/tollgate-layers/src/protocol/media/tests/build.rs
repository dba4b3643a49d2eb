//! The smallest files of each kind, byte by byte.

/// `length`, `kind`, `data` and a checksum that nobody looks at.
pub(super) fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a short chunk").to_be_bytes();
    [&length, kind.as_slice(), data, &[0; 4]].concat()
}

pub(super) fn png(width: u32, height: u32, between: &[u8]) -> Vec<u8> {
    let header = [&width.to_be_bytes(), &height.to_be_bytes(), [8, 6, 0, 0, 0].as_slice()].concat();
    let (header, pixels, end) = (chunk(b"IHDR", &header), chunk(b"IDAT", b"x"), chunk(b"IEND", b""));
    [b"\x89PNG\r\n\x1a\n", header.as_slice(), between, &pixels, &end].concat()
}

pub(super) fn animation(frames: u32) -> Vec<u8> {
    chunk(b"acTL", &[frames.to_be_bytes(), [0; 4]].concat())
}

/// A marker with its length.
pub(super) fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 2).expect("a short segment").to_be_bytes();
    [&[0xff, marker], length.as_slice(), data].concat()
}

pub(super) fn frame_header(marker: u8, width: u16, height: u16) -> Vec<u8> {
    segment(marker, &[&[8], height.to_be_bytes().as_slice(), &width.to_be_bytes(), &[1, 1, 0x11, 0]].concat())
}

pub(super) fn jpeg(segments: &[&[u8]]) -> Vec<u8> {
    [b"\xff\xd8".as_slice(), &segments.concat(), &segment(0xda, &[1, 1, 0, 0, 63, 0]), b"x\xff\xd9"].concat()
}

pub(super) fn gif(width: u16, height: u16, frames: &[[u16; 4]]) -> Vec<u8> {
    let mut file = [b"GIF89a", width.to_le_bytes().as_slice(), &height.to_le_bytes(), &[0x80, 0, 0], &[0; 6]].concat();
    file.extend(b"!\xf9\x04\0\0\0\0\0");
    for frame in frames {
        file.push(b',');
        frame.iter().for_each(|side| file.extend(side.to_le_bytes()));
        // A local table of four colours, then two sub-blocks.
        file.extend([0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 9, 2, 9, 9, 0]);
    }
    file.push(b';');
    file
}

pub(super) fn bmp(header: u32, width: i32, height: i32) -> Vec<u8> {
    let mut file = [b"BM", [0; 12].as_slice(), &header.to_le_bytes()].concat();
    if header == 12 {
        file.extend([width, height].into_iter().flat_map(|side| side.to_le_bytes().into_iter().take(2)));
    } else {
        file.extend([width, height].into_iter().flat_map(i32::to_le_bytes));
    }
    file.resize(14 + header as usize, 0);
    file
}

pub(super) fn riff(form: &[u8; 4], chunks: &[&[u8]]) -> Vec<u8> {
    let inner = chunks.concat();
    let length = u32::try_from(inner.len() + 4).expect("a short file").to_le_bytes();
    [b"RIFF", length.as_slice(), form, &inner].concat()
}

pub(super) fn riff_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a short chunk").to_le_bytes();
    [kind.as_slice(), &length, data, &[0][..data.len() % 2]].concat()
}

pub(super) fn lossy(width: u16, height: u16) -> Vec<u8> {
    let data = [&[0x10, 0, 0, 0x9d, 0x01, 0x2a], width.to_le_bytes().as_slice(), &height.to_le_bytes()].concat();
    riff_chunk(b"VP8 ", &data)
}

pub(super) fn lossless(width: u32, height: u32) -> Vec<u8> {
    riff_chunk(b"VP8L", &[&[0x2f], ((height - 1) << 14 | (width - 1)).to_le_bytes().as_slice(), &[0]].concat())
}

fn three(number: u32) -> [u8; 3] {
    let [low, middle, high, _] = number.to_le_bytes();
    [low, middle, high]
}

pub(super) fn canvas(flags: u8, width: u32, height: u32) -> Vec<u8> {
    riff_chunk(b"VP8X", &[&[flags, 0, 0, 0], three(width - 1).as_slice(), &three(height - 1)].concat())
}

pub(super) fn drawn(left: u32, top: u32, width: u32, height: u32) -> Vec<u8> {
    let place = [left / 2, top / 2, width - 1, height - 1, 100].map(three).concat();
    riff_chunk(b"ANMF", &[place.as_slice(), &[0], &lossless(width, height)].concat())
}

/// Pages of a TIFF, each behind the other; the last one's next page is `last`.
pub(super) fn tiff(big_endian: bool, wide: bool, pages: &[[u32; 2]], last: u32) -> Vec<u8> {
    let two = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let four = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    // A word of the layout: its offsets and counts.
    let word = |number: u32| match (wide, big_endian) {
        (false, _) => four(number).to_vec(),
        (true, true) => u64::from(number).to_be_bytes().to_vec(),
        (true, false) => u64::from(number).to_le_bytes().to_vec(),
    };
    let mut file = if big_endian { b"MM".to_vec() } else { b"II".to_vec() };
    file.extend(two(if wide { 43 } else { 42 }));
    if wide {
        file.extend([two(8), two(0)].concat());
    }
    let here = |file: &Vec<u8>, more: usize| u32::try_from(file.len() + more).expect("a short file");
    file.extend(word(here(&file, if wide { 8 } else { 4 })));
    for (index, page) in pages.iter().enumerate() {
        file.extend(if wide { word(2) } else { two(2).to_vec() });
        for (tag, side) in [256, 257].into_iter().zip(page) {
            // LONG in a classic file; its place is a word wide.
            file.extend([two(tag), two(4)].concat());
            file.extend(word(1));
            file.extend(four(*side));
            file.extend(if wide { vec![0; 4] } else { vec![] });
        }
        let next = if index + 1 == pages.len() { last } else { here(&file, if wide { 8 } else { 4 }) };
        file.extend(word(next));
    }
    file
}

pub(super) fn boxed(kind: &[u8; 4], inner: &[&[u8]]) -> Vec<u8> {
    let inner = inner.concat();
    let length = u32::try_from(inner.len() + 8).expect("a short box").to_be_bytes();
    [length.as_slice(), kind, &inner].concat()
}

pub(super) fn brands(brands: &[&[u8; 4]]) -> Vec<u8> {
    let compatible = brands.iter().flat_map(|brand| brand.iter().copied()).collect::<Vec<_>>();
    boxed(b"ftyp", &[brands[0], &[0; 4], &compatible])
}

/// A `meta` box with these extents.
pub(super) fn extents(sizes: &[[u32; 2]]) -> Vec<u8> {
    let each = |[width, height]: &[u32; 2]| boxed(b"ispe", &[&[0; 4], &width.to_be_bytes(), &height.to_be_bytes()]);
    let properties = boxed(b"ipco", &[&sizes.iter().flat_map(each).collect::<Vec<_>>()]);
    boxed(b"meta", &[&[0; 4], &boxed(b"hdlr", &[&[0; 24]]), &boxed(b"iprp", &[&properties])])
}

/// A film header of `units` at 1000 a second, and its tracks.
pub(super) fn movie(units: u32, tracks: &[&[u8]]) -> Vec<u8> {
    let header = boxed(b"mvhd", &[&[0; 12], &1000_u32.to_be_bytes(), &units.to_be_bytes(), &[0; 80]]);
    boxed(b"moov", &[&header, &tracks.concat()])
}

pub(super) fn track(handler: &[u8; 4], size: [u16; 2], samples: u32) -> Vec<u8> {
    let [width, height] = size.map(|side| (u32::from(side) << 16).to_be_bytes());
    let handler = boxed(b"hdlr", &[&[0; 8], handler, &[0; 13]]);
    let [coded_width, coded_height] = size.map(u16::to_be_bytes);
    let entry = boxed(b"avc1", &[&[0; 24], &coded_width, &coded_height, &[0; 50]]);
    let described = boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &entry]);
    let sizes = boxed(b"stsz", &[&[0; 4], &7_u32.to_be_bytes(), &samples.to_be_bytes()]);
    let table = boxed(b"stbl", &[&described, &sizes]);
    let media = boxed(b"mdia", &[&handler, &boxed(b"minf", &[&table])]);
    boxed(b"trak", &[&boxed(b"tkhd", &[&[0; 76], &width, &height]), &media])
}

/// `seconds` of a wave of these numbers.
pub(super) fn wav(tag: u16, channels: u16, rate: u32, bits: u16, bytes: u32) -> Vec<u8> {
    let block = channels * bits.div_ceil(8);
    let format = [
        tag.to_le_bytes().as_slice(),
        &channels.to_le_bytes(),
        &rate.to_le_bytes(),
        &(rate * u32::from(block)).to_le_bytes(),
        &block.to_le_bytes(),
        &bits.to_le_bytes(),
    ]
    .concat();
    let data = riff_chunk(b"data", &vec![0; bytes as usize]);
    riff(b"WAVE", &[&riff_chunk(b"fmt ", &format), &riff_chunk(b"LIST", b"odd"), &data])
}

/// Frames of 417 bytes: MPEG 1 layer III, 128 kbit/s, 44.1 kHz.
pub(super) fn mp3(frames: usize) -> Vec<u8> {
    let mut frame = b"\xff\xfb\x90\x00".to_vec();
    frame.resize(417, 0);
    frame.repeat(frames)
}

pub(super) fn tag(length: u8) -> Vec<u8> {
    [b"ID3\x04\0\0\0\0\0", [length].as_slice(), &vec![0; usize::from(length)]].concat()
}

pub(super) fn flac(rate: u64, samples: u64) -> Vec<u8> {
    [b"fLaC\x80\0\0\x22", [0; 10].as_slice(), &(rate << 44 | 1 << 41 | 15 << 36 | samples).to_be_bytes(), &[0; 16]]
        .concat()
}

pub(super) fn page(flags: u8, granule: i64, packet: &[u8]) -> Vec<u8> {
    let segments = packet.chunks(255).map(|part| u8::try_from(part.len()).expect("at most 255")).collect::<Vec<_>>();
    let count = u8::try_from(segments.len()).expect("a short packet");
    [b"OggS\0", [flags].as_slice(), &granule.to_le_bytes(), &[7; 12], &[count], &segments, packet].concat()
}

pub(super) fn opus(skip: u16) -> Vec<u8> {
    page(2, 0, &[b"OpusHead\x01\x02", skip.to_le_bytes().as_slice(), &48_000_u32.to_le_bytes(), &[0; 3]].concat())
}

pub(super) fn ebml(doc_type: &[u8]) -> Vec<u8> {
    let named = [&[0x42, 0x82, 0x80 | u8::try_from(doc_type.len()).expect("a short name")], doc_type].concat();
    let inner = [b"\x42\x86\x81\x01".as_slice(), &named].concat();
    [b"\x1a\x45\xdf\xa3", [0x80 | u8::try_from(inner.len()).expect("a short header")].as_slice(), &inner].concat()
}
