//! Artifacts on their way between machines: packed, and unpacked while they arrive.
//!
//! Packed they are the number of their blocks and how long each is packed (u32, little endian), then the blocks, each [`BLOCK`]
//! bytes of image and metadata packed with LZ4: a third to a half of their length. What packs more tightly takes longer to
//! unpack than a fast network needs to send the difference.
//!
//! One thread reads and hashes, others unpack, and one writes. What was written is used only if all that was read has the hash
//! that was signed.

use std::io::{self, Read};
use std::thread::{self, Scope};

use crossbeam_channel::{Receiver, Sender, bounded};
use lz4_flex::block;
use wasm_compile_cache_store::{
    ArtifactKey, CacheError, Contents, MAX_IMAGE_LEN, MAX_META_LEN, ModuleHash, Named, Staged,
    Store,
};

use super::object::{self, Received, Trusted};
use super::storage;

/// Bytes of a block before it is packed, of all but the last.
const BLOCK: usize = 256 << 10;

/// Threads that unpack, at most: to write and hash takes as long as two of them.
const THREADS: usize = 3;

/// Blocks that wait for the next thread.
const QUEUED: usize = 4;

/// An artifact, to be sent.
pub struct Packed {
    /// What the receiver has to know.
    pub about: Received,
    /// See above.
    pub bytes: Vec<u8>,
}

/// Unpacks the artifact of `key` from its object as it is read.
///
/// # Errors
/// Why it is not to be used; the first word is stable.
pub(super) fn stage(
    store: &Store,
    key: &ArtifactKey,
    object: &mut (dyn Read + Send),
    trusted: &Trusted,
) -> Result<(Staged, Received), String> {
    let received = object::open(object, key, trusted)?;
    if let Some((field, theirs, ours)) = storage::differences(&received.label.fingerprint).first() {
        return Err(format!("other-engine: {field} is {theirs}, here {ours}"));
    }
    if *key != storage::key(&received.hash, &received.label.partition) {
        return Err("wrong-key: it is another module's".to_owned());
    }
    let (image_len, meta_len) = (received.image_len, received.meta_len);
    if image_len > MAX_IMAGE_LEN || meta_len > MAX_META_LEN {
        return Err("too-large".to_owned());
    }
    let packed = Packing {
        bytes: object,
        length: image_len + meta_len,
        digest: received.digest,
    };
    let staged = packed.unpacked(|bytes| {
        let contents = Contents {
            image_len,
            meta_len,
            bytes,
        };
        let module = ModuleHash::from_bytes(received.hash);
        store.stage(key, module, contents, &received.label)
    })?;
    let staged = staged.map_err(|error| error.to_string())?;
    Ok((staged, received))
}

/// What is to be unpacked.
struct Packing<'a> {
    bytes: &'a mut (dyn Read + Send),
    /// How long it is, unpacked.
    length: u64,
    digest: [u8; 32],
}

impl Packing<'_> {
    /// Gives `take` what was packed; what that returns is to be used only if this does.
    fn unpacked<T>(self, take: impl FnOnce(&mut Unpacked) -> T) -> Result<T, String> {
        thread::scope(|scope| {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            let unpackers: io::Result<Vec<_>> =
                (0..THREADS.min(cores)).map(|_| unpacker(scope)).collect();
            let no_thread = |error: io::Error| format!("thread: {error}");
            let (senders, receivers) = unpackers.map_err(no_thread)?.into_iter().unzip();
            let reading = thread::Builder::new()
                .name("wasm-unpack".to_owned())
                .spawn_scoped(scope, move || self.read(senders))
                .map_err(no_thread)?;
            let mut unpacked = Unpacked {
                receivers,
                next: 0,
                current: io::Cursor::new(Vec::new()),
                defect: None,
            };
            let taken = take(&mut unpacked);
            let Unpacked {
                receivers, defect, ..
            } = unpacked;
            // Whoever still unpacks, and whoever reads for that, waits for nobody.
            drop(receivers);
            reading
                .join()
                .unwrap_or_else(|_| Err("packing: it cannot be read".to_owned()))?;
            defect.map_or(Ok(taken), Err)
        })
    }

    /// Reads all, whatever is wrong with it: that it is not what was signed is the reason that counts.
    fn read(self, senders: Vec<Sender<(Vec<u8>, usize)>>) -> Result<(), String> {
        let mut bytes = Hashed {
            bytes: self.bytes,
            hasher: blake3::Hasher::new(),
        };
        let read = read_blocks(&mut bytes, self.length, senders);
        let rest = io::copy(&mut bytes, &mut io::sink());
        let rest = rest.map_err(|error| format!("truncated: it is cut off ({error})"))?;
        if *bytes.hasher.finalize().as_bytes() != self.digest {
            return Err("digest: it is damaged".to_owned());
        }
        read.map_err(|error| format!("length: {error}"))?;
        if rest > 0 {
            return Err("length: it is longer than it says".to_owned());
        }
        Ok(())
    }
}

/// Gives each block, and how long it is unpacked, to the threads in turn.
fn read_blocks(
    bytes: &mut impl Read,
    length: u64,
    senders: Vec<Sender<(Vec<u8>, usize)>>,
) -> io::Result<()> {
    let mut number = [0; 4];
    bytes.read_exact(&mut number)?;
    let count = u32::from_le_bytes(number);
    if u64::from(count) != length.div_ceil(BLOCK as u64) {
        return Err(io::Error::other("it has not as many blocks as it says"));
    }
    let mut lengths = vec![0; count as usize * 4];
    bytes.read_exact(&mut lengths)?;
    let mut left = length;
    for (packed, sender) in lengths.chunks_exact(4).zip(senders.iter().cycle()) {
        number.copy_from_slice(packed);
        let packed_len = u32::from_le_bytes(number) as usize;
        if packed_len > block::get_maximum_output_size(BLOCK) {
            return Err(io::Error::other("a block is longer than any can be"));
        }
        let mut packed = vec![0; packed_len];
        bytes.read_exact(&mut packed)?;
        let length = left.min(BLOCK as u64);
        left -= length;
        // Nobody takes it where the one before was defective.
        let _ = sender.send((packed, length as usize));
    }
    Ok(())
}

/// What was read of it is hashed.
struct Hashed<'a> {
    bytes: &'a mut (dyn Read + Send),
    hasher: blake3::Hasher,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

type Unpacker = (Sender<(Vec<u8>, usize)>, Receiver<Result<Vec<u8>, String>>);

/// A thread that unpacks what it is given.
fn unpacker<'scope>(scope: &'scope Scope<'scope, '_>) -> io::Result<Unpacker> {
    let (give, packed) = bounded::<(Vec<u8>, usize)>(QUEUED);
    let (sender, take) = bounded(QUEUED);
    let builder = thread::Builder::new().name("wasm-unpack".to_owned());
    builder.spawn_scoped(scope, move || {
        for (packed, length) in packed {
            // Nobody takes what is behind a defect.
            if sender.send(unpack_block(&packed, length)).is_err() {
                break;
            }
        }
    })?;
    Ok((give, take))
}

fn unpack_block(packed: &[u8], length: usize) -> Result<Vec<u8>, String> {
    let mut unpacked = vec![0; length];
    match block::decompress_into(packed, &mut unpacked) {
        Ok(written) if written == length => Ok(unpacked),
        Ok(_) => Err("length: a block is shorter than it says".to_owned()),
        Err(error) => Err(format!("packing: {error}")),
    }
}

/// What was packed, in its order.
struct Unpacked {
    /// One a thread; the blocks come from each in turn.
    receivers: Vec<Receiver<Result<Vec<u8>, String>>>,
    next: usize,
    current: io::Cursor<Vec<u8>>,
    /// Why there is no more.
    defect: Option<String>,
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.current.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        match self.receivers[self.next].recv() {
            Ok(Ok(block)) => {
                self.next = (self.next + 1) % self.receivers.len();
                self.current = io::Cursor::new(block);
                self.current.read(buffer)
            }
            Ok(Err(defect)) => {
                self.defect = Some(defect);
                Err(io::ErrorKind::InvalidData.into())
            }
            // That was all.
            Err(_) => Ok(0),
        }
    }
}

/// Gives it its name, and has streams of its module find it.
pub(super) fn name(
    store: &Store,
    staged: Staged,
    received: &Received,
) -> Result<Named, CacheError> {
    let named = store.name(staged)?;
    if let Some(head) = &received.label.head {
        // Without it, streams of the module are compiled for nothing.
        let _ = store.heads().remember_head(head);
    }
    Ok(named)
}

/// Stores an object that nobody has asked for; how many bytes its image has.
///
/// # Errors
/// Why it is not stored.
pub fn unpack(
    store: &Store,
    key: &ArtifactKey,
    mut object: &[u8],
    trusted: &Trusted,
) -> Result<u64, String> {
    let (staged, received) = stage(store, key, &mut object, trusted)?;
    let named = name(store, staged, &received);
    let settled = named.and_then(|named| store.settle(named));
    settled.map_err(|error| error.to_string())?;
    Ok(received.image_len)
}

/// Packs an artifact of the cache, which is hashed whole.
pub fn pack(store: &Store, key: &ArtifactKey) -> Option<Packed> {
    let (entry, module, label) = store.read(key)?;
    let contents = (&entry.file).take(entry.image_len).chain(&*entry.meta);
    let bytes = pack_all(contents, entry.image_len + entry.meta.len() as u64).ok()?;
    Some(Packed {
        about: Received {
            hash: *module.as_bytes(),
            label,
            image_len: entry.image_len,
            meta_len: entry.meta.len() as u64,
            digest: *blake3::hash(&bytes).as_bytes(),
        },
        bytes,
    })
}

fn pack_all(mut contents: impl Read, length: u64) -> io::Result<Vec<u8>> {
    let count = length.div_ceil(BLOCK as u64) as usize;
    let mut bytes = vec![0; 4 + count * 4];
    bytes[..4].copy_from_slice(&(count as u32).to_le_bytes());
    let mut part = Vec::with_capacity(BLOCK);
    for index in 0..count {
        part.clear();
        contents
            .by_ref()
            .take(BLOCK as u64)
            .read_to_end(&mut part)?;
        let packed = block::compress(&part);
        let at = 4 + index * 4;
        bytes[at..at + 4].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&packed);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: &[u8], digest: &[u8], length: usize) -> Result<Vec<u8>, String> {
        unpacked_by(packed, digest, length, |bytes| {
            let mut all = vec![0; length];
            bytes.read_exact(&mut all).map(|()| all)
        })
        .map(|all| all.expect("is whole"))
    }

    fn unpacked_by<T>(
        mut packed: &[u8],
        digest: &[u8],
        length: usize,
        take: impl FnOnce(&mut Unpacked) -> T,
    ) -> Result<T, String> {
        let packing = Packing {
            bytes: &mut packed,
            length: length as u64,
            digest: *blake3::hash(digest).as_bytes(),
        };
        packing.unpacked(take)
    }

    fn contents(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at / 3 % 251) as u8).collect()
    }

    #[test]
    fn what_was_packed_comes_back() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 17 * BLOCK + 5] {
            let contents = contents(length);
            let packed = pack_all(&*contents, length as u64).expect("is read");
            assert_eq!(unpacked(&packed, &packed, length), Ok(contents));
        }
    }

    #[test]
    fn what_was_not_signed_is_damaged_whatever_else_is_wrong_with_it() {
        let length = 9 * BLOCK;
        let packed = pack_all(&*contents(length), length as u64).expect("is read");
        let mut damaged = vec![[&*packed, &[0]].concat(), Vec::new()];
        for at in [0, 5, 40, packed.len() / 2, packed.len() - 1] {
            damaged.push(packed[..at].to_vec());
            let mut flipped = packed.clone();
            flipped[at] ^= 4;
            damaged.push(flipped);
        }
        for one in damaged {
            let reason = unpacked(&one, &packed, length).unwrap_err();
            assert!(reason.starts_with("digest:"), "{reason}");
        }
    }

    #[test]
    fn who_takes_no_more_keeps_nobody() {
        let length = 100 * BLOCK;
        let packed = pack_all(&*contents(length), length as u64).expect("is read");
        assert_eq!(unpacked_by(&packed, &packed, length, |_| 7), Ok(7));
        let mut defective = packed.clone();
        // The first block's first bytes.
        let first = 4 + 100 * 4;
        defective[first..first + 9].fill(0xff);
        let reason = unpacked(&defective, &defective, length).unwrap_err();
        assert!(reason.starts_with("packing:"), "{reason}");
    }

    #[test]
    fn no_length_is_believed() {
        let length = 9 * BLOCK + 9;
        let packed = pack_all(&*contents(length), length as u64).expect("is read");
        let reason = |packed: &[u8], length| unpacked(packed, packed, length).unwrap_err();
        assert!(reason(&[&*packed, &[0]].concat(), length).starts_with("length: it is longer"));
        for end in [0, 3, 4, 15, 60, packed.len() - 1] {
            let reason = reason(&packed[..end], length);
            assert!(reason.starts_with("length:"), "{end}: {reason}");
        }
        for other in [0, BLOCK, length - 1, length + 1, length + BLOCK] {
            let reason = reason(&packed, other);
            let (word, _) = reason.split_once(':').expect("has a first word");
            assert!(["length", "packing"].contains(&word), "{reason}");
        }
        let mut endless = packed.clone();
        endless[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(reason(&endless, length).starts_with("length: a block"));
    }
}
