//! What the cache did: counted by each process, and added up over all of them.
//!
//! A process appends one record to `counters` when it ends. The process that makes them too many adds them up into one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::{CacheError, InvalidReason};
use super::fields::Fields;
use super::files::{self, Durability};
use super::layout::COUNTERS;

/// Why a lookup did not find an artifact. [`MissReason::as_str`] is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MissReason {
    /// There is nothing of this module.
    Absent,
    /// There is an artifact of this module, for other partitions only.
    OtherPartition,
    /// There is an artifact of this module, made by another engine or for another machine.
    OtherEngine,
    /// What was there was not usable.
    Invalid(InvalidReason),
    /// What was there was sealed by us, but the engine did not take it.
    Unloadable,
}

/// The names of all reasons, in the order of their counters. New ones go to the end.
const REASONS: [&str; 15] = [
    "absent",
    "other-partition",
    "other-engine",
    "unloadable",
    "truncated",
    "bad-magic",
    "wrong-version",
    "wrong-key",
    "wrong-module",
    "too-large",
    "seal-mismatch",
    "not-regular",
    "wrong-owner",
    "unsafe-mode",
    "io",
];

impl MissReason {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::OtherPartition => "other-partition",
            Self::OtherEngine => "other-engine",
            Self::Invalid(reason) => reason.as_str(),
            Self::Unloadable => "unloadable",
        }
    }
}

/// Everything that is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lookups that found an artifact.
    pub hits: u64,
    /// Artifacts stored.
    pub writes: u64,
    /// Artifacts and records that could not be stored.
    pub write_failures: u64,
    /// Artifacts and modules' bytes that made room for others.
    pub evicted: u64,
    /// Defective artifacts that were quarantined.
    pub quarantined: u64,
    /// Bytes of the artifacts stored.
    pub bytes_written: u64,
    /// Artifacts that the remote cache had.
    pub remote_hits: u64,
    /// Artifacts that it did not have.
    pub remote_misses: u64,
    /// Artifacts that it could not be asked for, could not be given, or had in a form that was refused.
    pub remote_failures: u64,
    /// Artifacts that it was given.
    pub remote_writes: u64,
    /// Bytes that came from it.
    pub remote_bytes_read: u64,
    /// Bytes that went to it.
    pub remote_bytes_written: u64,
    /// How long it took to answer, in all, in microseconds.
    pub remote_time: u64,
    misses: [u64; REASONS.len()],
}

const FIELDS: usize = 13 + REASONS.len();
const MAGIC: [u8; 8] = *b"wcc-cn3\n";
/// Where the hash of what comes before it is: a full disk cuts a record off.
const HASH_AT: usize = 8 + 8 * FIELDS;
const LEN: usize = HASH_AT + 32;
/// Larger than this, a file is added up into one record.
const COMPACT_FROM: u64 = 64 << 10;
/// No file is read further, in bytes.
const MAX_FILE_LEN: u64 = 16 << 20;

impl Counts {
    /// How many lookups found nothing usable, by reason; those that never happened are left out.
    pub fn misses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = REASONS.into_iter().zip(self.misses);
        counts.filter(|(_, count)| *count > 0)
    }

    fn fields(&mut self) -> impl Iterator<Item = &mut u64> {
        let Self {
            hits,
            writes,
            write_failures,
            evicted,
            quarantined,
            bytes_written,
            remote_hits,
            remote_misses,
            remote_failures,
            remote_writes,
            remote_bytes_read,
            remote_bytes_written,
            remote_time,
            misses,
        } = self;
        [
            hits,
            writes,
            write_failures,
            evicted,
            quarantined,
            bytes_written,
            remote_hits,
            remote_misses,
            remote_failures,
            remote_writes,
            remote_bytes_read,
            remote_bytes_written,
            remote_time,
        ]
        .into_iter()
        .chain(misses)
    }

    fn add(&mut self, mut other: Self) {
        for (sum, more) in self.fields().zip(other.fields()) {
            *sum = sum.saturating_add(*more);
        }
    }

    fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..8].copy_from_slice(&MAGIC);
        let mut counts = self.clone();
        for (place, field) in out[8..HASH_AT].chunks_exact_mut(8).zip(counts.fields()) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let hash = blake3::hash(&out[..HASH_AT]);
        out[HASH_AT..].copy_from_slice(hash.as_bytes());
        out
    }

    /// `None` for what is no whole record.
    fn decode(record: &[u8]) -> Option<Self> {
        let (hashed, hash) = record.split_last_chunk::<32>()?;
        let mut fields = Fields(hashed);
        // The magic first: every byte of a damaged file is looked at as a record's first one.
        if fields.bytes() != Some(MAGIC) || blake3::hash(hashed) != *hash {
            return None;
        }
        let mut counts = Self::default();
        for place in counts.fields() {
            *place = fields.u64()?;
        }
        Some(counts)
    }
}

/// One process' counts, and the file of all.
#[derive(Debug)]
pub struct Counters {
    path: PathBuf,
    hits: AtomicU64,
    writes: AtomicU64,
    write_failures: AtomicU64,
    evicted: AtomicU64,
    quarantined: AtomicU64,
    bytes_written: AtomicU64,
    remote: RemoteCounters,
    misses: [AtomicU64; REASONS.len()],
}

#[derive(Debug, Default)]
struct RemoteCounters {
    hits: AtomicU64,
    misses: AtomicU64,
    failures: AtomicU64,
    writes: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    time: AtomicU64,
}

/// What came of asking the remote cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// It had the artifact.
    Hit,
    /// It had none.
    Miss,
    /// It did not answer, or with something that was refused.
    Failure,
    /// It took the artifact.
    Write,
}

impl Counters {
    pub fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(COUNTERS),
            hits: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            write_failures: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            quarantined: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            remote: RemoteCounters::default(),
            misses: Default::default(),
        }
    }

    pub fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub fn miss(&self, reason: MissReason) {
        let name = reason.as_str();
        if let Some(at) = REASONS.iter().position(|known| *known == name) {
            self.misses[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A hit that turned out to be none.
    pub fn unloadable(&self) {
        self.hits.fetch_sub(1, Ordering::Relaxed);
        self.miss(MissReason::Unloadable);
    }

    pub fn wrote(&self, bytes: u64) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes_written.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn write_failed(&self) {
        self.write_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub fn evicted(&self, units: u64) {
        self.evicted.fetch_add(units, Ordering::Relaxed);
    }

    pub fn remote(&self, outcome: Remote, bytes: u64, time: Duration) {
        let remote = &self.remote;
        let (count, sum) = match outcome {
            Remote::Hit => (&remote.hits, &remote.bytes_read),
            Remote::Miss => (&remote.misses, &remote.bytes_read),
            Remote::Failure => (&remote.failures, &remote.bytes_read),
            Remote::Write => (&remote.writes, &remote.bytes_written),
        };
        count.fetch_add(1, Ordering::Relaxed);
        sum.fetch_add(bytes, Ordering::Relaxed);
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        remote.time.fetch_add(time, Ordering::Relaxed);
    }

    pub fn quarantined(&self) {
        self.quarantined.fetch_add(1, Ordering::Relaxed);
    }

    /// What this process has counted.
    pub fn process(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            hits: read(&self.hits),
            writes: read(&self.writes),
            write_failures: read(&self.write_failures),
            evicted: read(&self.evicted),
            quarantined: read(&self.quarantined),
            bytes_written: read(&self.bytes_written),
            remote_hits: read(&self.remote.hits),
            remote_misses: read(&self.remote.misses),
            remote_failures: read(&self.remote.failures),
            remote_writes: read(&self.remote.writes),
            remote_bytes_read: read(&self.remote.bytes_read),
            remote_bytes_written: read(&self.remote.bytes_written),
            remote_time: read(&self.remote.time),
            misses: std::array::from_fn(|at| read(&self.misses[at])),
        }
    }

    /// What processes that ended have counted, and this one.
    pub fn total(&self) -> Counts {
        let mut total = self.process();
        for counts in self.read().unwrap_or_default() {
            total.add(counts);
        }
        total
    }

    /// The process ends: its counts go to the file. An error is ignored: these are statistics.
    pub fn record(&self) {
        let counts = self.process();
        if counts != Counts::default() && self.append(&counts).is_ok() {
            let _ = self.compact();
        }
    }

    /// One write to the end of the file, which the system does not mix with another process': nobody waits at the end of
    /// a program.
    fn append(&self, counts: &Counts) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        files::no_follow(&mut options);
        let mut file = options.open(&self.path)?;
        file.write_all(&counts.encode())
    }

    /// Every record, whatever lies between them.
    fn read(&self) -> Result<Vec<Counts>, InvalidReason> {
        let Some((file, _)) = files::open_private(&self.path)? else {
            return Ok(Vec::new());
        };
        let mut bytes = Vec::new();
        File::take(file, MAX_FILE_LEN)
            .read_to_end(&mut bytes)
            .map_err(|error| InvalidReason::from_read(&error))?;
        let mut left = bytes.as_slice();
        let mut found = Vec::new();
        while let Some(record) = left.get(..LEN) {
            let counts = Counts::decode(record);
            let next = if counts.is_some() { LEN } else { 1 };
            found.extend(counts);
            left = &left[next..];
        }
        Ok(found)
    }

    /// Adds the records up into one, where there are many. What another process appends at this very moment is lost: it
    /// is a statistic.
    fn compact(&self) -> Result<(), CacheError> {
        if std::fs::symlink_metadata(&self.path).map_or(0, |metadata| metadata.len()) < COMPACT_FROM
        {
            return Ok(());
        }
        let records = match self.read() {
            // What cannot be read at this moment is not lost.
            Err(InvalidReason::Io(_)) => return Ok(()),
            records => records.unwrap_or_default(),
        };
        let mut sum = Counts::default();
        for counts in records {
            sum.add(counts);
        }
        files::replace(&self.path, &[&sum.encode()], Durability::Cheap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_add_up() {
        let dir = tempfile::tempdir().unwrap();
        for round in 1..=3 {
            let process = Counters::new(dir.path());
            process.hit();
            process.miss(MissReason::Absent);
            process.miss(MissReason::Invalid(InvalidReason::SealMismatch));
            process.wrote(10);
            assert_eq!(process.process().hits, 1);
            assert_eq!(process.total().hits, round);
            process.record();
        }
        let total = Counters::new(dir.path()).total();
        assert_eq!((total.hits, total.writes, total.bytes_written), (3, 3, 30));
        assert!(total.misses().eq([("absent", 3), ("seal-mismatch", 3)]));
    }

    #[test]
    fn a_process_that_did_nothing_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        Counters::new(dir.path()).record();
        assert!(!dir.path().join(COUNTERS).exists());
    }

    #[test]
    fn many_records_become_one_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let process = Counters::new(dir.path());
        process.hit();
        let rounds = COMPACT_FROM / LEN as u64 + 1;
        for _ in 0..rounds {
            process.record();
        }
        let len = std::fs::metadata(dir.path().join(COUNTERS)).unwrap().len();
        assert_eq!(len, LEN as u64);
        assert_eq!(Counters::new(dir.path()).total().hits, rounds);
    }

    #[test]
    fn what_is_damaged_or_torn_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let process = Counters::new(dir.path());
        process.hit();
        process.record();
        process.record();
        let path = dir.path().join(COUNTERS);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[9] ^= 1;
        bytes.extend_from_slice(&[MAGIC.as_slice(), b"torn"].concat());
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Counters::new(dir.path()).total().hits, 1);
        process.record();
        assert_eq!(
            Counters::new(dir.path()).total().hits,
            2,
            "what follows does"
        );
    }

    #[test]
    fn every_reason_has_a_counter() {
        let reasons = [
            MissReason::Absent,
            MissReason::OtherPartition,
            MissReason::OtherEngine,
            MissReason::Unloadable,
            MissReason::Invalid(InvalidReason::Truncated),
            MissReason::Invalid(InvalidReason::BadMagic),
            MissReason::Invalid(InvalidReason::WrongVersion),
            MissReason::Invalid(InvalidReason::WrongKey),
            MissReason::Invalid(InvalidReason::WrongModule),
            MissReason::Invalid(InvalidReason::TooLarge),
            MissReason::Invalid(InvalidReason::SealMismatch),
            MissReason::Invalid(InvalidReason::NotRegular),
            MissReason::Invalid(InvalidReason::WrongOwner),
            MissReason::Invalid(InvalidReason::UnsafeMode),
            MissReason::Invalid(InvalidReason::Io(io::ErrorKind::Other)),
        ];
        assert!(reasons.iter().map(|reason| reason.as_str()).eq(REASONS));
    }
}
