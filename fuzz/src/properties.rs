//! What must hold whatever the files of a cache contain. It sees the store's parsers, and can seal what it makes up:
//! otherwise no input would get past a seal.
//!
//! Nothing panics, nothing large is allocated, and a file is used exactly if it is what the store itself would have
//! written: what is refused differs from that, and what is used does not.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arbitrary::{Result, Unstructured};
use wasm_compile_cache_store::fuzzing::{
    Counters, FOOTER_LEN, FORMAT_VERSION, Footer, MAX_LABEL_LEN, Seals, Subject, verify,
};
use wasm_compile_cache_store::{
    ArtifactKey, FileStat, Label, Lookup, MAX_IMAGE_LEN, MAX_META_LEN, ModuleHash, Observation,
    Settings, Store,
};

use crate::bounded;

const KEY: ArtifactKey = ArtifactKey::from_bytes([0x5a; 32]);
const MODULE: ModuleHash = ModuleHash::from_bytes([0xa5; 32]);
const SOURCE: &str = "/a/module.wasm";
const STAT: FileStat = FileStat {
    dev: 1,
    ino: 2,
    size: 3,
    mtime_ns: 4,
    ctime_ns: 5,
};
/// The longest hole in a file that is made, in bytes.
const MAX_SPARSE: u64 = 40 << 20;

/// A cache for as long as the process lives.
struct Cache {
    _dir: tempfile::TempDir,
    /// Nothing that is refused is moved away.
    store: Store,
    /// The same one.
    writable: Store,
    seals: Seals,
    root: PathBuf,
}

static CACHE: LazyLock<Cache> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let settings = || Settings {
        directory: Some(dir.path().to_owned()),
        engine: "engine".to_owned(),
        ..Settings::default()
    };
    let writable = Store::open(settings()).expect("the cache opens");
    let store = Store::open_read_only(settings()).expect("the cache opens");
    Cache {
        seals: Seals::open(dir.path()).expect("there is a key"),
        root: writable.directory().to_owned(),
        store: store.expect("the cache is there"),
        writable,
        _dir: dir,
    }
});

/// Puts `bytes` there as the store would, with mode 0600; `sparse` bytes of zeros come before them.
fn plant(path: &Path, sparse: u64, bytes: &[u8]) {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.open(path).expect("the folder is ours");
    file.seek(SeekFrom::Start(sparse)).expect("files can seek");
    file.write_all(bytes).expect("there is room");
}

/// The right value, or any other.
fn or_any<'a, T>(input: &mut Unstructured<'a>, right: T) -> Result<T>
where
    T: arbitrary::Arbitrary<'a>,
{
    if input.arbitrary()? {
        Ok(right)
    } else {
        input.arbitrary()
    }
}

fn some_bytes<'a>(input: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let len = input.arbitrary::<u8>()?;
    let len = usize::from(len).min(input.len());
    input.bytes(len)
}

/// The file of an artifact.
pub fn artifact(data: &[u8]) {
    // An input that is too short for what it began to describe is no case.
    let _ = try_artifact(&mut Unstructured::new(data));
}

fn try_artifact(input: &mut Unstructured<'_>) -> Result<()> {
    match input.int_in_range(0..=3)? {
        0 => parse_footer(input),
        1 => {
            let bytes = input.bytes(input.len())?;
            bounded(|| Label::decode(bytes)).map_or(Ok(()), |label| {
                // What was read is written as it is, but for a source that is too long.
                let again =
                    Label::decode(&label.encode()).expect("a label reads as it was written");
                assert!(label.source.starts_with(&again.source));
                assert_eq!(
                    Label {
                        source: again.source.clone(),
                        ..label
                    },
                    again
                );
                Ok(())
            })
        }
        2 => {
            // Nobody can make a seal.
            let bytes = input.bytes(input.len())?;
            plant(&CACHE.store.entry_path(&KEY), 0, bytes);
            let found = bounded(|| CACHE.store.lookup(&KEY, MODULE));
            assert!(matches!(found, Lookup::Invalid(_)), "{found:?}");
            Ok(())
        }
        _ => sealed_artifact(input),
    }
}

fn parse_footer(input: &mut Unstructured<'_>) -> Result<()> {
    let mut bytes: [u8; FOOTER_LEN] = input.arbitrary()?;
    if input.arbitrary()? {
        bytes[..8].copy_from_slice(b"wcc-art\n");
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    }
    let len = u64::from(input.arbitrary::<u32>()?);
    let hasher = || CACHE.seals.entry();
    match Footer::parse(&bytes, len) {
        Ok(footer) => {
            assert_eq!(footer.file_len(), Some(len));
            let sealed = footer.seal(&mut hasher());
            assert_eq!(sealed[..FOOTER_LEN - 32], bytes[..FOOTER_LEN - 32]);
            assert!(verify(&sealed, &mut hasher()).is_ok());
            let is_ours = footer.key == KEY && footer.module == MODULE;
            assert_eq!(footer.check(&KEY, &MODULE).is_ok(), is_ours);
        }
        Err(reason) => assert!(!reason.as_str().is_empty()),
    }
    assert!(verify(&bytes, &mut hasher()).is_err());
    Ok(())
}

/// A file with our seal, whose parts and lengths need not agree.
fn sealed_artifact(input: &mut Unstructured<'_>) -> Result<()> {
    // A hole in the metadata: lengths that are true, and more than is kept.
    let sparse = if input.ratio(1, 32)? {
        input.int_in_range(1..=MAX_SPARSE)?
    } else {
        0
    };
    let parts = [some_bytes(input)?, some_bytes(input)?, some_bytes(input)?];
    let right = parts.map(|part| part.len() as u64);
    let footer = Footer {
        key: ArtifactKey::from_bytes(or_any(input, *KEY.as_bytes())?),
        module: ModuleHash::from_bytes(or_any(input, *MODULE.as_bytes())?),
        image_len: or_any(input, right[0])?,
        meta_len: or_any(input, right[1] + sparse)?,
        label_len: or_any(input, right[2] as u32)?,
    };
    let contents = parts.concat();
    let hasher = || {
        let mut hasher = CACHE.seals.entry();
        hasher.update(&contents);
        hasher
    };
    let mut sealed = footer.seal(&mut hasher());
    if input.ratio(1, 8)? {
        let at = input.int_in_range(0..=FOOTER_LEN - 1)?;
        sealed[at] ^= input.int_in_range(1..=u8::MAX)?;
    }
    let tail = if input.ratio(1, 8)? {
        some_bytes(input)?
    } else {
        &[]
    };
    let file = [&contents, &sealed[..], tail].concat();
    plant(&CACHE.store.entry_path(&KEY), sparse, &file);

    let found = bounded(|| CACHE.store.lookup(&KEY, MODULE));
    let len = sparse + file.len() as u64;
    // The seal is not that of a file with a hole.
    let is_right = tail.is_empty()
        && sparse == 0
        && sealed == footer.seal(&mut hasher())
        && footer.key == KEY
        && footer.module == MODULE
        && footer.file_len() == Some(len)
        && footer.image_len <= MAX_IMAGE_LEN
        && footer.meta_len <= MAX_META_LEN
        && u64::from(footer.label_len) <= MAX_LABEL_LEN;
    match found {
        Lookup::Hit(entry) => {
            assert!(is_right, "{footer:?}");
            assert_eq!(entry.image_len, footer.image_len);
            let meta = &contents[footer.image_len as usize..][..footer.meta_len as usize];
            assert_eq!(entry.meta, meta);
        }
        Lookup::Invalid(reason) => assert!(!is_right, "{reason} {footer:?}"),
        Lookup::Miss => panic!("it is there"),
    }
    // For people, whatever the seal says; the parts have to add up.
    bounded(|| CACHE.store.items());
    Ok(())
}

/// A file beside the artifacts.
pub fn index(data: &[u8]) {
    // An input that is too short for what it began to describe is no case.
    let _ = try_index(&mut Unstructured::new(data));
}

fn try_index(input: &mut Unstructured<'_>) -> Result<()> {
    match input.int_in_range(0..=3)? {
        0 => stat_record(input),
        1 => spool_file(input),
        2 => note(input),
        _ => counters(input),
    }
}

/// `bytes` with the seal of `hasher`, or any other, and perhaps something behind it; and whether that is right.
fn sealed(
    input: &mut Unstructured<'_>,
    bytes: &[u8],
    hasher: &blake3::Hasher,
) -> Result<(Vec<u8>, bool)> {
    let seal = or_any(input, *hasher.finalize().as_bytes())?;
    let mut file = [bytes, &seal[..]].concat();
    if input.ratio(1, 8)? {
        file.extend_from_slice(some_bytes(input)?);
    }
    if input.ratio(1, 8)? {
        file.truncate(input.int_in_range(0..=file.len())?);
    }
    let is_right = file.len() == bytes.len() + 32 && *hasher.finalize().as_bytes() == seal;
    Ok((file, is_right))
}

fn stat_record(input: &mut Unstructured<'_>) -> Result<()> {
    let magic: [u8; 8] = or_any(input, *b"wcc-st1\n")?;
    let stat: [u8; FileStat::ENCODED_LEN] = or_any(input, STAT.encode())?;
    let module: [u8; 32] = input.arbitrary()?;
    let bytes = [&magic[..], &stat, &module].concat();
    let mut hasher = CACHE.seals.stat();
    hasher.update(&bytes).update(SOURCE.as_bytes());
    let (file, is_sealed) = sealed(input, &bytes, &hasher)?;
    let name = blake3::hash(SOURCE.as_bytes());
    let path = CACHE.root.join("stat").join(name.to_hex().as_str());
    plant(&path, 0, &file);

    let source = Path::new(SOURCE);
    let found = bounded(|| CACHE.store.stat_index().lookup(source, &STAT));
    let is_right = is_sealed && magic == *b"wcc-st1\n" && stat == STAT.encode();
    assert_eq!(found, is_right.then(|| ModuleHash::from_bytes(module)));
    if let Some(module) = found {
        let seen = Observation {
            stat: STAT,
            at: SystemTime::now(),
        };
        let index = CACHE.writable.stat_index();
        assert!(
            index
                .record(source, &seen, &STAT, module)
                .expect("there is room")
        );
        assert_eq!(fs::read(&path).expect("it was recorded"), file);
    }
    Ok(())
}

fn spool_file(input: &mut Unstructured<'_>) -> Result<()> {
    let parts = [some_bytes(input)?, some_bytes(input)?, some_bytes(input)?];
    let contents = parts.concat();
    let mut header = Vec::new();
    let magic: [u8; 8] = or_any(input, *b"wcc-sp1\n")?;
    let key: [u8; 32] = or_any(input, *KEY.as_bytes())?;
    header.extend_from_slice(&magic);
    header.extend_from_slice(&key);
    let mut lens = [0; 3];
    for (len, part) in lens.iter_mut().zip(parts) {
        *len = or_any(input, part.len() as u64)?;
        header.extend_from_slice(&len.to_le_bytes());
    }
    let payload: [u8; 32] = or_any(input, *blake3::hash(&contents).as_bytes())?;
    header.extend_from_slice(&payload);
    let mut hasher = CACHE.seals.spool();
    hasher.update(&header);
    let seal: [u8; 32] = or_any(input, *hasher.finalize().as_bytes())?;
    let mut file = [&header[..], &seal, &contents].concat();
    if input.ratio(1, 8)? {
        file.truncate(input.int_in_range(0..=file.len())?);
    }
    let path = CACHE.root.join("spool").join(format!("{KEY}.spool"));
    plant(&path, 0, &file);

    let taken = bounded(|| CACHE.writable.spool().take(&path));
    let sum = lens
        .iter()
        .try_fold(0_u64, |sum, len| sum.checked_add(*len));
    let partition = contents.get(..lens[0] as usize).map(str::from_utf8);
    let is_right = magic == *b"wcc-sp1\n"
        && key == *KEY.as_bytes()
        && seal == *hasher.finalize().as_bytes()
        && payload == *blake3::hash(&contents).as_bytes()
        && file.len() == header.len() + 32 + contents.len()
        && sum == Some(contents.len() as u64)
        && matches!(partition, Some(Ok(_)));
    match taken {
        Ok(Some(taken)) => {
            assert!(is_right);
            let spool = CACHE.writable.spool();
            let again = spool.spool(&taken.key, &taken.partition, &taken.wasm, &taken.params);
            assert_eq!(again.expect("there is room"), path);
            assert_eq!(fs::read(&path).expect("it was spooled"), file);
        }
        Ok(None) => panic!("it is there"),
        Err(_) => assert!(!is_right),
    }
    Ok(())
}

fn note(input: &mut Unstructured<'_>) -> Result<()> {
    let footer: [u8; FOOTER_LEN] = [7; FOOTER_LEN];
    let meta = b"metadata";
    let seconds: u64 = input.arbitrary()?;
    let mut hasher = CACHE.seals.verified();
    hasher
        .update(&seconds.to_le_bytes())
        .update(&STAT.encode())
        .update(&footer)
        .update(meta);
    let (file, is_right) = sealed(input, &seconds.to_le_bytes(), &hasher)?;
    let path = CACHE.root.join(format!("{KEY}.ok"));
    plant(&path, 0, &file);

    let subject = Subject {
        stat: &STAT,
        footer: &footer,
        meta,
    };
    let now = UNIX_EPOCH + Duration::from_secs(u64::from(input.arbitrary::<u32>()?));
    let noted = bounded(|| subject.noted(&path, &CACHE.seals, now, true));
    assert_eq!(noted.is_some(), is_right);
    if noted.is_some() && seconds <= u64::from(u32::MAX) {
        let then = UNIX_EPOCH + Duration::from_secs(seconds);
        subject.write_note(&path, &CACHE.seals, then, true);
        assert_eq!(fs::read(&path).expect("it was noted"), file);
    }
    fs::remove_file(&path).expect("the folder is ours");
    Ok(())
}

/// Records of ours, with anything between them.
fn counters(input: &mut Unstructured<'_>) -> Result<()> {
    const RECORD: usize = 8 + 8 * 28 + 32;
    let mut file = Vec::new();
    let mut hits = 0_u64;
    while !input.is_empty() && file.len() < 64 << 10 {
        if input.arbitrary()? {
            let magic: [u8; 8] = or_any(input, *b"wcc-cn3\n")?;
            let count: u64 = input.arbitrary()?;
            let mut record = [&magic[..], &count.to_le_bytes()].concat();
            record.resize(RECORD - 32, 0);
            let right = *blake3::hash(&record).as_bytes();
            let hash: [u8; 32] = or_any(input, right)?;
            if magic == *b"wcc-cn3\n" && hash == right {
                hits = hits.saturating_add(count);
            }
            file.extend_from_slice(&record);
            file.extend_from_slice(&hash);
        } else {
            file.extend_from_slice(some_bytes(input)?);
        }
    }
    plant(&CACHE.root.join("counters"), 0, &file);
    let counters = Counters::new(&CACHE.root);
    assert_eq!(bounded(|| counters.total()).hits, hits);
    Ok(())
}
