//! What was fetched from where: the record of a URL, and what HTTP says of how long it holds.
//!
//! ```text
//! magic 8 │ module hash 32 │ module length 8 │ policy length 4 │ policy │ seal 32
//! ```
//!
//! The policy is text for `lib/compile/resources.js`; here it is bytes of a bounded size. The seal is also of the URL
//! and the partition, which are not in the file: a record that was moved to another's name is none.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::error::CacheError;
use super::fields::Fields;
use super::files::{self, Durability};
use super::key::ModuleHash;
use super::seal::Seals;

const MAGIC: [u8; 8] = *b"wcc-ur1\n";
const HEADER_LEN: usize = 8 + 32 + 8 + 4;
const SEAL_LEN: usize = 32;
/// The longest policy, in bytes. Headers that count are some hundred.
pub const MAX_POLICY_LEN: u64 = 8 << 10;
const MAX_LEN: u64 = HEADER_LEN as u64 + MAX_POLICY_LEN + SEAL_LEN as u64;

/// One sealed record a URL and partition.
///
/// Invariant: what is returned for a URL and partition was recorded for these two, under this user's seal.
#[derive(Debug, Clone)]
pub struct Resources {
    dir: PathBuf,
    seals: Arc<Seals>,
}

/// What a URL gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The module.
    pub module: ModuleHash,
    /// Its bytes.
    pub len: u64,
    /// How long it holds, and for whom.
    pub policy: String,
}

impl Resource {
    /// Reads a record without its seal; `None` for what is none. Never panics.
    pub fn parse(record: &[u8]) -> Option<Self> {
        let mut fields = Fields(record);
        if fields.bytes() != Some(MAGIC) {
            return None;
        }
        let module = ModuleHash::from_bytes(fields.bytes()?);
        let len = fields.u64()?;
        let policy_len = fields.u32()?;
        let policy = fields.0;
        if u64::from(policy_len) > MAX_POLICY_LEN || policy.len() as u64 != u64::from(policy_len) {
            return None;
        }
        Some(Self {
            module,
            len,
            policy: String::from_utf8(policy.to_vec()).ok()?,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(HEADER_LEN + self.policy.len());
        record.extend_from_slice(&MAGIC);
        record.extend_from_slice(self.module.as_bytes());
        record.extend_from_slice(&self.len.to_le_bytes());
        record.extend_from_slice(&(self.policy.len() as u32).to_le_bytes());
        record.extend_from_slice(self.policy.as_bytes());
        record
    }
}

impl Resources {
    pub(super) fn new(dir: PathBuf, seals: Arc<Seals>) -> Self {
        Self { dir, seals }
    }

    /// The record of a URL (without its fragment). Damaged and foreign ones count as absent. Where `used`, the record is
    /// marked with the time `now`.
    pub fn lookup(
        &self,
        url: &str,
        partition: &str,
        now: SystemTime,
        used: bool,
    ) -> Option<Resource> {
        let (mut file, metadata) = files::open_private(&self.path(url, partition)).ok()??;
        if metadata.len() > MAX_LEN {
            return None;
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        Read::by_ref(&mut file)
            .take(MAX_LEN)
            .read_to_end(&mut bytes)
            .ok()?;
        let (record, seal) = bytes.split_last_chunk::<SEAL_LEN>()?;
        if self.seal(url, partition, record) != *seal {
            return None;
        }
        if used {
            files::mark_used(&file, &metadata, now);
        }
        Resource::parse(record)
    }

    /// Records what a URL gave. One that says so already is left as it is.
    ///
    /// # Errors
    /// [`CacheError::TooLarge`], [`CacheError::Write`], [`CacheError::Full`].
    pub fn record(
        &self,
        url: &str,
        partition: &str,
        resource: &Resource,
    ) -> Result<(), CacheError> {
        let path = self.path(url, partition);
        CacheError::check_len(&path, "policy", resource.policy.len(), MAX_POLICY_LEN)?;
        let known = self.lookup(url, partition, SystemTime::now(), true);
        if known.as_ref() == Some(resource) {
            return Ok(());
        }
        let record = resource.encode();
        let seal = self.seal(url, partition, &record);
        files::replace(&path, &[&record, seal.as_bytes()], Durability::Cheap)
    }

    /// Forgets what a URL gave.
    pub fn forget(&self, url: &str, partition: &str) {
        files::discard(&self.path(url, partition));
    }

    fn path(&self, url: &str, partition: &str) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        name(&mut hasher, url, partition);
        self.dir.join(hasher.finalize().to_hex().as_str())
    }

    fn seal(&self, url: &str, partition: &str, record: &[u8]) -> blake3::Hash {
        let mut hasher = self.seals.resource();
        name(&mut hasher, url, partition);
        hasher.update(record).finalize()
    }
}

/// Both preceded by their lengths: no other two strings hash the same.
fn name(hasher: &mut blake3::Hasher, url: &str, partition: &str) {
    for text in [url, partition] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    const URL: &str = "https://example.com/app.wasm";

    fn resource(byte: u8) -> Resource {
        Resource {
            module: ModuleHash::from_bytes([byte; 32]),
            len: 5,
            policy: "{\"v\":1}".to_owned(),
        }
    }

    fn resources() -> (tempfile::TempDir, Resources) {
        let dir = tempfile::tempdir().unwrap();
        let seals = Arc::new(Seals::open(dir.path()).unwrap());
        let url = dir.path().join("url");
        fs::create_dir(&url).unwrap();
        (dir, Resources::new(url, seals))
    }

    fn lookup(resources: &Resources, url: &str, partition: &str) -> Option<Resource> {
        resources.lookup(url, partition, SystemTime::now(), true)
    }

    #[test]
    fn a_record_is_found_by_its_url_and_partition_until_it_is_forgotten() {
        let (_dir, resources) = resources();
        assert_eq!(lookup(&resources, URL, ""), None);
        resources.record(URL, "", &resource(1)).unwrap();
        resources.record(URL, "site", &resource(2)).unwrap();
        assert_eq!(lookup(&resources, URL, ""), Some(resource(1)));
        assert_eq!(lookup(&resources, URL, "site"), Some(resource(2)));
        assert_eq!(lookup(&resources, "https://example.com/", ""), None);
        resources.record(URL, "", &resource(3)).unwrap();
        assert_eq!(lookup(&resources, URL, ""), Some(resource(3)));
        resources.forget(URL, "");
        assert_eq!(lookup(&resources, URL, ""), None);
        assert_eq!(lookup(&resources, URL, "site"), Some(resource(2)));
    }

    #[test]
    fn a_letter_that_moves_from_the_url_to_the_partition_is_another_record() {
        let (_dir, resources) = resources();
        resources.record("ab", "c", &resource(1)).unwrap();
        assert_eq!(lookup(&resources, "a", "bc"), None);
    }

    #[test]
    fn every_truncation_every_changed_byte_and_a_moved_record_are_absent() {
        let (_dir, resources) = resources();
        resources.record(URL, "", &resource(1)).unwrap();
        let path = resources.path(URL, "");
        let good = fs::read(&path).unwrap();
        fs::write(resources.path("other", ""), &good).unwrap();
        assert_eq!(lookup(&resources, "other", ""), None);
        for at in 0..good.len() {
            fs::write(&path, &good[..at]).unwrap();
            assert_eq!(lookup(&resources, URL, ""), None);
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert_eq!(lookup(&resources, URL, ""), None);
        }
        fs::write(&path, [good.as_slice(), b"x"].concat()).unwrap();
        assert_eq!(lookup(&resources, URL, ""), None);
        fs::write(&path, vec![0; MAX_LEN as usize + 1]).unwrap();
        assert_eq!(lookup(&resources, URL, ""), None);
        fs::write(&path, &good).unwrap();
        assert_eq!(lookup(&resources, URL, ""), Some(resource(1)));
    }

    #[test]
    fn a_parser_without_a_seal_accepts_what_was_encoded_and_no_length_that_does_not_fit() {
        let record = resource(1).encode();
        assert_eq!(Resource::parse(&record), Some(resource(1)));
        for at in 0..record.len() {
            assert_eq!(Resource::parse(&record[..at]), None);
        }
        for at in HEADER_LEN - 4..HEADER_LEN {
            let mut bad = record.clone();
            bad[at] ^= 0x80;
            assert_eq!(Resource::parse(&bad), None);
        }
        let mut bad = record;
        let last = bad.len() - 1;
        bad[last] = 0xff;
        assert_eq!(Resource::parse(&bad), None, "not UTF-8");
    }

    #[test]
    fn a_policy_has_a_limit() {
        let (_dir, resources) = resources();
        let long = |len: u64| Resource {
            policy: "x".repeat(len as usize),
            ..resource(1)
        };
        resources.record(URL, "", &long(MAX_POLICY_LEN)).unwrap();
        assert_eq!(lookup(&resources, URL, ""), Some(long(MAX_POLICY_LEN)));
        let error = resources.record(URL, "", &long(MAX_POLICY_LEN + 1));
        assert_eq!(error.unwrap_err().code(), "ERR_WASM_CACHE_TOO_LARGE");
    }

    #[test]
    fn a_use_is_marked_and_the_same_again_is_not_written() {
        let (_dir, resources) = resources();
        resources.record(URL, "", &resource(1)).unwrap();
        let path = resources.path(URL, "");
        let old = SystemTime::now() - Duration::from_secs(600);
        let age = || {
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            modified.duration_since(old).unwrap()
        };
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(old).unwrap();
        resources.lookup(URL, "", SystemTime::now(), false).unwrap();
        assert_eq!(age(), Duration::ZERO);
        lookup(&resources, URL, "").unwrap();
        assert!(age() >= Duration::from_secs(599));
        {
            use std::os::unix::fs::MetadataExt;
            let before = fs::metadata(&path).unwrap().ino();
            resources.record(URL, "", &resource(1)).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        }
    }
}
