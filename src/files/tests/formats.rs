//! Every kind of archive that is taken: compressions, sizes of 64 bits, sizes behind the contents, and names of two encodings.

use zip::CompressionMethod;

use super::*;

#[test]
fn every_compression_is_unpacked_with_small_headers_and_large() {
    let methods =
        [("stored", CompressionMethod::Stored), ("deflated", CompressionMethod::Deflated), ("zstd", CompressionMethod::Zstd)];
    let content = "the quick brown fox ".repeat(1000);
    for large in [false, true] {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, method) in methods {
            zip.start_file(name, SimpleFileOptions::default().compression_method(method).large_file(large)).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        let world = World::new();
        world.unpack(&zip.finish().unwrap().into_inner(), "").unwrap();
        world.assert_tree(&methods.map(|(name, _)| (name, &*content)));
    }
}

#[test]
fn deflate64_is_unpacked() {
    // One block that is not compressed, as deflate64 has it like deflate.
    let content = "x".repeat(1000);
    let length = u16::try_from(content.len()).unwrap();
    let block = [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), content.as_bytes()].concat();
    let entry = Raw::new("a", block).with(|raw| (raw.method, raw.size, raw.crc) = (9, length.into(), crc32(content.as_bytes())));
    let world = World::new();
    world.unpack(&raw_archive(&[entry]), "").unwrap();
    world.assert_tree(&[("a", &content)]);
}

#[test]
fn sizes_may_stand_behind_the_contents() {
    let mut zip = ZipWriter::new_stream(Vec::new());
    for name in ["a", "b/c"] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(name.repeat(5000).as_bytes()).unwrap();
    }
    let world = World::new();
    world.unpack(&zip.finish().unwrap().into_inner(), "").unwrap();
    world.assert_tree(&[("a", &"a".repeat(5000)), ("b", "/"), ("b/c", &"b/c".repeat(5000))]);
}

#[test]
fn names_are_utf8_where_they_say_so_and_else_cp437() {
    let utf8 = Raw::new("Bücher/😀", "1").with(|raw| raw.flags = 1 << 11);
    let cp437 = Raw::new(b"B\x81cher/\x8elter".to_vec(), "2");
    let world = World::new();
    world.unpack(&raw_archive(&[utf8, cp437]), "").unwrap();
    world.assert_tree(&[("Bücher", "/"), ("Bücher/😀", "1"), ("Bücher/Älter", "2")]);
}
