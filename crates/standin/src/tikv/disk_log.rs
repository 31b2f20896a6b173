//! How does a store keep what it acknowledged, whatever moment it is killed at? One append-only
//! file of checksummed frames for all of its regions. A frame is on disk before anything that it
//! holds is acknowledged. The file begins with an image of every region and is rewritten, into a
//! new file that replaces it by a rename, when it has grown past its images.
//!
//! A frame cut short at the end of the file was never acknowledged and is dropped at start; a
//! damaged frame anywhere else means that acknowledged data is gone, and the store refuses to start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use crate::proto::standinpb::{Record, Records};

const MAGIC: &[u8; 8] = b"STANDIN1";
/// Length and checksum of a frame's payload, four bytes each, little endian.
const FRAME_HEADER: usize = 8;

/// The open log of one store.
#[derive(Debug)]
pub struct DiskLog {
    dir: PathBuf,
    /// Which file is the current one; each rewrite takes the next number.
    number: u64,
    file: File,
    /// A smaller file is never rewritten, in bytes.
    rewrite_after: u64,
    image_bytes: u64,
    bytes: u64,
}

impl DiskLog {
    /// Opens the newest complete file in `dir` (made if absent) and returns what it holds, in order.
    pub fn open(dir: &Path, rewrite_after: u64) -> io::Result<(Self, Vec<Record>)> {
        fs::create_dir_all(dir)?;
        let numbers = remove_unfinished(dir)?;
        let Some(number) = numbers.iter().max().copied() else {
            let log = Self::start_file(dir, 1, &[], rewrite_after)?;
            return Ok((log, Vec::new()));
        };
        for old in numbers.into_iter().filter(|old| *old != number) {
            fs::remove_file(file_path(dir, old))?;
        }
        let path = file_path(dir, number);
        let mut content = Vec::new();
        File::open(&path)?.read_to_end(&mut content)?;
        let (records, good) = read_frames(&content).map_err(|reason| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {reason}", path.display()))
        })?;
        let file = OpenOptions::new().append(true).open(&path)?;
        if good < content.len() {
            file.set_len(good as u64)?;
            file.sync_all()?;
        }
        let bytes = good as u64;
        let dir = dir.to_owned();
        Ok((Self { dir, number, file, rewrite_after, image_bytes: 0, bytes }, records))
    }

    /// Appends one frame; with `sync` it is on disk when this returns.
    pub fn append(&mut self, records: Vec<Record>, sync: bool) -> io::Result<()> {
        if !records.is_empty() {
            let frame = encode_frame(records);
            self.file.write_all(&frame)?;
            self.bytes += frame.len() as u64;
        }
        if sync { self.file.sync_data() } else { Ok(()) }
    }

    /// Whether the file has outgrown its images enough to be worth rewriting.
    pub fn wants_rewrite(&self) -> bool {
        self.bytes > self.rewrite_after.max(2 * self.image_bytes)
    }

    /// Replaces the file by one that holds only `images`. The old file stays until the new one is
    /// complete and on disk.
    pub fn rewrite(&mut self, images: &[Record]) -> io::Result<()> {
        let old = file_path(&self.dir, self.number);
        *self = Self::start_file(&self.dir, self.number + 1, images, self.rewrite_after)?;
        fs::remove_file(old)
    }

    /// Bytes of the current file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn start_file(
        dir: &Path,
        number: u64,
        images: &[Record],
        rewrite_after: u64,
    ) -> io::Result<Self> {
        let path = file_path(dir, number);
        let unfinished = path.with_extension("tmp");
        let mut file = File::create(&unfinished)?;
        file.write_all(MAGIC)?;
        let mut bytes = MAGIC.len() as u64;
        for image in images {
            let frame = encode_frame(vec![image.clone()]);
            file.write_all(&frame)?;
            bytes += frame.len() as u64;
        }
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        File::open(dir)?.sync_all()?;
        let file = OpenOptions::new().append(true).open(&path)?;
        let dir = dir.to_owned();
        Ok(Self { dir, number, file, rewrite_after, image_bytes: bytes, bytes })
    }
}

fn file_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("regions-{number:08}.log"))
}

/// Removes files whose writing was interrupted; returns the numbers of the complete ones.
fn remove_unfinished(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let number = name.strip_prefix("regions-").and_then(|n| n.strip_suffix(".log"));
        if let Some(number) = number.and_then(|n| n.parse().ok()) {
            numbers.push(number);
        } else if name.starts_with("regions-") {
            fs::remove_file(&path)?;
        }
    }
    Ok(numbers)
}

fn encode_frame(records: Vec<Record>) -> Vec<u8> {
    let payload = Records { records }.encode_to_vec();
    let mut frame = Vec::with_capacity(FRAME_HEADER + payload.len());
    // A frame is bounded by what Raft hands over at once, far below 4 GiB.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    frame.extend_from_slice(&payload);
    frame
}

/// All records of `content` and the length of its good part; an error where a bad frame is followed
/// by more data.
fn read_frames(content: &[u8]) -> Result<(Vec<Record>, usize), String> {
    if !content.starts_with(MAGIC) {
        return Err("not a stand-in region log".to_owned());
    }
    let mut records = Vec::new();
    let mut at = MAGIC.len();
    while let Some(header) = content.get(at..at + FRAME_HEADER) {
        let (length, checksum) = header.split_at(4);
        let length = le_u32(length) as usize;
        let end = at + FRAME_HEADER + length;
        let Some(payload) = content.get(at + FRAME_HEADER..end) else { break };
        let whole = length > 0 && crc32fast::hash(payload) == le_u32(checksum);
        match Records::decode(payload) {
            Ok(frame) if whole => records.extend(frame.records),
            Ok(_) | Err(_) if end == content.len() || length == 0 => break,
            Ok(_) | Err(_) => return Err(format!("damaged frame at byte {at}")),
        }
        at = end;
    }
    Ok((records, at))
}

fn le_u32(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, byte| (value << 8) | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::standinpb::Destroyed;

    fn record(region_id: u64) -> Record {
        Record { destroyed: Some(Destroyed { region_id, peer_id: 7 }), ..Record::default() }
    }

    fn written(dir: &Path) -> PathBuf {
        let (mut log, records) = DiskLog::open(dir, 1 << 20).unwrap();
        assert!(records.is_empty());
        for id in 1..=3 {
            log.append(vec![record(id), record(id + 10)], true).unwrap();
        }
        file_path(dir, 1)
    }

    #[test]
    fn a_cut_at_any_byte_keeps_every_whole_frame_and_the_log_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let whole = fs::read(&path).unwrap();
        let frame = (whole.len() - MAGIC.len()) / 3;
        for cut in MAGIC.len()..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (mut log, records) = DiskLog::open(dir.path(), 1 << 20).unwrap();
            assert_eq!(records.len(), 2 * ((cut - MAGIC.len()) / frame), "cut at {cut}");
            log.append(vec![record(99)], true).unwrap();
            let (_, again) = DiskLog::open(dir.path(), 1 << 20).unwrap();
            assert_eq!(again.len(), records.len() + 1, "cut at {cut}");
            assert_eq!(again.last(), Some(&record(99)));
        }
    }

    #[test]
    fn damage_before_the_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let mut content = fs::read(&path).unwrap();
        let at = MAGIC.len() + FRAME_HEADER + 1;
        content[at] ^= 0xff;
        fs::write(&path, &content).unwrap();
        let refused = DiskLog::open(dir.path(), 1 << 20).unwrap_err().to_string();
        assert!(refused.contains("damaged frame at byte 8"), "{refused}");
    }

    #[test]
    fn a_rewrite_replaces_the_file_and_an_unfinished_one_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let (mut log, _) = DiskLog::open(dir.path(), 1 << 20).unwrap();
        log.rewrite(&[record(5)]).unwrap();
        log.append(vec![record(6)], true).unwrap();
        fs::write(dir.path().join("regions-00000003.tmp"), b"half").unwrap();
        let (_, records) = DiskLog::open(dir.path(), 1 << 20).unwrap();
        assert_eq!(records, [record(5), record(6)]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
