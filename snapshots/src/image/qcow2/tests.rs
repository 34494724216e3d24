use super::*;

const CLUSTER: usize = 1 << 16;

/// An image of version 3 that is being made: header, L1 table and one L2 table in the first clusters.
struct Maker {
    bytes: Vec<u8>,
}

impl Maker {
    fn new(disk_bytes: u64, features: u64) -> Maker {
        let mut maker = Maker { bytes: vec![0; 3 * CLUSTER] };
        maker.put(0, MAGIC);
        maker.put32(4, 3);
        maker.put32(20, 16);
        maker.put64(24, disk_bytes);
        maker.put32(36, 1);
        maker.put64(40, CLUSTER as u64);
        maker.put64(72, features);
        maker.put32(100, 112);
        maker.put64(CLUSTER, (2 * CLUSTER as u64) | (1 << 63));
        maker
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let end = self.bytes.len().max(at + bytes.len());
        self.bytes.resize(end, 0);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn put32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_be_bytes());
    }

    fn put64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_be_bytes());
    }

    /// Word `index` of the L2 table.
    fn l2(&mut self, index: usize, value: u64) {
        self.put64(2 * CLUSTER + 8 * index, value);
    }

    /// Appends data; its offset.
    fn append(&mut self, data: &[u8]) -> u64 {
        let at = self.bytes.len();
        self.put(at, data);
        at as u64
    }

    fn open(&self) -> Result<Qcow2, String> {
        Qcow2::open(Arc::new(self.bytes.clone()), self.bytes.len() as u64)
    }
}

fn read(image: &Qcow2, offset: u64, len: usize) -> Vec<u8> {
    let mut buf = vec![0xee; len];
    image.read_at(offset, &mut buf).unwrap();
    buf
}

/// A cluster with something in it that compresses.
fn pattern() -> Vec<u8> {
    (0..CLUSTER).map(|i| (i / 100) as u8).collect()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut deflater = flate2::read::DeflateEncoder::new(bytes, flate2::Compression::default());
    let mut out = Vec::new();
    deflater.read_to_end(&mut out).unwrap();
    out
}

/// The entry of compressed data.
fn compressed(offset: u64, len: usize) -> u64 {
    let first = offset / SECTOR_BYTES;
    let last = (offset + len as u64 - 1) / SECTOR_BYTES;
    COMPRESSED | (last - first) << 54 | offset
}

#[test]
fn clusters_are_where_the_tables_say() {
    let mut maker = Maker::new(5 * CLUSTER as u64 + 512, 0);
    let at = maker.append(&vec![7; CLUSTER]);
    maker.l2(1, at | (1 << 63));
    maker.l2(2, ALL_ZEROS);
    maker.l2(3, at | ALL_ZEROS);
    let mut image = maker.open().unwrap();
    image.set_below(Arc::new(vec![9; 4 * CLUSTER]));
    assert_eq!(image.bytes(), 5 * CLUSTER as u64 + 512);
    let bytes = read(&image, CLUSTER as u64 - 2, CLUSTER + 4);
    assert_eq!(bytes[..3], [9, 9, 7]);
    assert_eq!(bytes[CLUSTER + 1..], [7, 0, 0]);
    assert_eq!(read(&image, 3 * CLUSTER as u64, 4), [0; 4]);
    // What is below ends before this, and this before the buffer does.
    assert_eq!(read(&image, 5 * CLUSTER as u64, 1024), [0; 1024]);
}

#[test]
fn compressed_clusters_are_read_in_both_ways() {
    let pattern = pattern();
    let zstd = zstd::encode_all(&pattern[..], 3).unwrap();
    for (features, kind, data) in [(0, 0, deflated(&pattern)), (8, 1, zstd)] {
        let mut maker = Maker::new(2 * CLUSTER as u64, features);
        maker.put(104, &[kind]);
        maker.append(&[0; 100]);
        let at = maker.append(&data);
        maker.l2(1, compressed(at, data.len()));
        let image = maker.open().unwrap();
        assert_eq!(read(&image, CLUSTER as u64, CLUSTER), pattern);
        assert_eq!(read(&image, CLUSTER as u64 + 999, 3), pattern[999..1002]);
        // Cut off, and damaged.
        let mut short = Maker { bytes: maker.bytes[..maker.bytes.len() - 20].to_vec() };
        let mut buf = [0; 16];
        assert!(short.open().unwrap().read_at(CLUSTER as u64, &mut buf).is_err());
        short.bytes = maker.bytes.clone();
        short.put(at as usize, &[0xff; 8]);
        assert!(short.open().unwrap().read_at(CLUSTER as u64, &mut buf).is_err());
    }
}

#[test]
fn parts_of_clusters_are_told_apart() {
    let mut maker = Maker::new(CLUSTER as u64, EXTENDED);
    let at = maker.append(&vec![7; CLUSTER]);
    maker.l2(0, at);
    // Part 0 is in the file, part 1 zeros, part 2 below.
    maker.l2(1, 1 | (1 << 33));
    let mut image = maker.open().unwrap();
    image.set_below(Arc::new(vec![9; CLUSTER]));
    let bytes = read(&image, 0, 3 * 2048);
    assert_eq!((bytes[2047], bytes[2048], bytes[4095], bytes[4096]), (7, 0, 0, 9));
}

const EXTENDED: u64 = 1 << 4;

#[test]
fn what_is_not_supported_is_named() {
    let refused = |change: fn(&mut Maker), words: &str| {
        let mut maker = Maker::new(CLUSTER as u64, 0);
        change(&mut maker);
        let error = maker.open().unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    refused(|m| m.put32(4, 4), "version 4");
    refused(|m| m.put32(32, 1), "encrypted");
    refused(|m| m.put64(72, 2), "corrupt");
    refused(|m| m.put64(72, 4), "external data file");
    refused(|m| m.put64(72, 1 << 40), "bit 40");
    refused(
        |m| {
            m.put64(72, 1 << 40);
            m.put32(112, 0x6803_f857);
            m.put32(116, 48);
            m.put(120, b"\0\x28time travel");
        },
        "`time travel`",
    );
    refused(
        |m| {
            m.put64(72, 8);
            m.put(104, &[9]);
        },
        "type 9",
    );
    refused(|m| m.put32(20, 3), "2^3");
    refused(|m| m.put64(24, 1 << 50), "does not fit");
    refused(|m| m.put64(40, 1 << 40), "cut off");
}

#[test]
fn an_image_that_points_outside_of_its_file_is_an_error_when_it_is_read() {
    let mut maker = Maker::new(2 * CLUSTER as u64, 0);
    maker.l2(0, 1 << 40);
    maker.l2(1, compressed(1 << 40, 100));
    let mut buf = [0; 16];
    for offset in [0, CLUSTER as u64] {
        assert!(maker.open().unwrap().read_at(offset, &mut buf).unwrap_err().to_string().contains("cut off"));
    }
    maker.put64(CLUSTER, 1 << 40);
    assert!(maker.open().unwrap().read_at(0, &mut buf).is_err());
}

#[test]
fn the_image_below_is_named() {
    let mut maker = Maker::new(CLUSTER as u64, 0);
    maker.put64(8, 1000);
    maker.put32(16, 8);
    maker.put(1000, b"base.img");
    maker.put32(112, 0xe279_2aca);
    maker.put32(116, 3);
    maker.put(120, b"raw");
    let backing = maker.open().unwrap().backing().cloned();
    assert_eq!(backing, Some(Backing { name: "base.img".into(), format: Some("raw".into()) }));
}

#[test]
fn damaged_images_are_errors_or_are_read() {
    let pattern = pattern();
    let mut maker = Maker::new(2 * CLUSTER as u64, 0);
    let data = deflated(&pattern);
    let at = maker.append(&data);
    maker.l2(0, compressed(at, data.len()));
    let at = maker.append(&pattern);
    maker.l2(1, at);
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize % below
    };
    let places =
        [0..120, CLUSTER..CLUSTER + 8, 2 * CLUSTER..2 * CLUSTER + 16, 3 * CLUSTER..3 * CLUSTER + data.len()];
    for _ in 0..3000 {
        let mut damaged = Maker { bytes: maker.bytes.clone() };
        for _ in 0..=random(3) {
            let place = places[random(places.len())].clone();
            damaged.bytes[place.start + random(place.len())] ^= 1 << random(8);
        }
        if let Ok(image) = damaged.open() {
            let mut buf = vec![0; 4096];
            for offset in
                [0, CLUSTER as u64 - 100, CLUSTER as u64, image.bytes().saturating_sub(10), u64::MAX - 5]
            {
                let _ = image.read_at(offset, &mut buf);
            }
        }
    }
}
