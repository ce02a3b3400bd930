//! Reading the remote cache without its service, which takes a hundred milliseconds to start: objects in folders and on web
//! servers without TLS.
//!
//! Only what goes well is done here. Whoever does not answer, answers something else than the object or that there is none,
//! or has one that is not to be used, is the service's from then on: it asks again, reports why, and counts failures.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use ureq::Agent;
use wasm_compile_cache_store::ArtifactKey;

use super::asked::Asked;
use super::object::Trusted;
use super::scheduler;
use crate::panics;

/// As the service's (`lib/remote/storage.js`, `lib/remote/remote.js`).
const LARGEST: u64 = 512 << 20;
const ANSWER: Duration = Duration::from_secs(2);
const OBJECT: Duration = Duration::from_secs(20);

/// So many are read at a time.
const READERS: usize = 4;

/// Where objects are.
pub enum Place {
    /// In a folder, under their keys.
    Folder(PathBuf),
    /// Where a server has them.
    Web {
        /// What stands before a key in an address.
        prefix: String,
        /// What stands behind it.
        suffix: String,
        /// The header of that name.
        authorization: Option<String>,
    },
}

/// A remote that can be read without its service.
pub struct Direct {
    place: Place,
    /// PEM files, or their texts. `None`: whatever comes is trusted.
    keys: Option<Vec<String>>,
    /// What counts failures in a row.
    failures: Option<PathBuf>,
    agent: OnceLock<Agent>,
    trusted: OnceLock<Option<Trusted>>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    wanted: VecDeque<Wanted>,
    readers: usize,
    /// It is the service's now.
    is_closed: bool,
}

/// An artifact that is to be read.
pub(super) struct Wanted {
    pub key: ArtifactKey,
    pub asked: Arc<Asked>,
    /// Is told what came of it, once.
    pub then: Box<dyn FnOnce(Outcome) + Send>,
}

/// What came of reading an artifact.
pub(super) enum Outcome {
    /// It was read, and is stored.
    Stored,
    /// There is none.
    Absent,
    /// The service is to see to it.
    Unclear,
}

impl Direct {
    /// Reads nothing yet.
    pub fn new(place: Place, keys: Option<Vec<String>>, failures: Option<PathBuf>) -> Self {
        Self {
            place,
            keys,
            failures,
            agent: OnceLock::new(),
            trusted: OnceLock::new(),
            queue: Mutex::default(),
        }
    }

    /// Reads an artifact on another thread. Gives it back if that cannot be.
    pub(super) fn read(self: &Arc<Self>, wanted: Wanted) -> Result<(), Wanted> {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return Err(wanted);
        }
        queue.wanted.push_back(wanted);
        if queue.readers < READERS {
            let direct = Arc::clone(self);
            let builder = thread::Builder::new().name("wasm-remote".to_owned());
            match builder.spawn(move || direct.work()) {
                Ok(_) => queue.readers += 1,
                Err(_) if queue.readers == 0 => return queue.wanted.pop_back().map_or(Ok(()), Err),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn work(&self) {
        loop {
            let wanted = {
                let mut queue = self.queue.lock();
                let Some(wanted) = queue.wanted.pop_front() else {
                    queue.readers -= 1;
                    return;
                };
                wanted
            };
            let done = panics::catch("what the remote sent", || self.done(&wanted));
            (wanted.then)(done.unwrap_or(Outcome::Unclear));
        }
    }

    fn done(&self, wanted: &Wanted) -> Outcome {
        if self.queue.lock().is_closed {
            return Outcome::Unclear;
        }
        match self.receive(wanted) {
            Ok(outcome) => {
                if let Some(failures) = &self.failures {
                    let _ = std::fs::remove_file(failures);
                }
                outcome
            }
            Err(_) => {
                self.queue.lock().is_closed = true;
                Outcome::Unclear
            }
        }
    }

    fn receive(&self, Wanted { key, asked, .. }: &Wanted) -> io::Result<Outcome> {
        match &self.place {
            Place::Folder(folder) => match open(folder.join(key.to_string())) {
                Ok((file, length)) => self.take(asked, file, length),
                Err(error) if is_missing(&error) => Ok(Outcome::Absent),
                Err(error) => Err(error),
            },
            Place::Web {
                prefix,
                suffix,
                authorization,
            } => {
                let agent = self.agent.get_or_init(agent);
                let mut request = agent.get(format!("{prefix}{key}{suffix}"));
                if let Some(authorization) = authorization {
                    request = request.header("authorization", authorization);
                }
                let response = request.call().map_err(ureq::Error::into_io)?;
                match response.status().as_u16() {
                    200 => {
                        let body = response.into_body();
                        let length = body.content_length().unwrap_or_default();
                        self.take(asked, body.into_reader(), length)
                    }
                    404 | 410 => Ok(Outcome::Absent),
                    _ => Err(io::ErrorKind::Other.into()),
                }
            }
        }
    }

    /// `length` 0: nobody knows.
    fn take(&self, asked: &Asked, object: impl Read + Send, length: u64) -> io::Result<Outcome> {
        if length > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let trusted = self.trusted.get_or_init(|| match &self.keys {
            None => Some(Trusted::All),
            Some(places) => Trusted::places(places),
        });
        asked.is_coming(0, length);
        let mut object = Watched {
            bytes: object.take(LARGEST),
            read: 0,
            length,
            asked,
            is_behind: false,
            failed: None,
        };
        let received = match trusted {
            Some(trusted) => asked.receive(&mut object, trusted),
            None => Err("a key cannot be read".to_owned()),
        };
        match (received, object.failed) {
            (Ok(()), _) => Ok(Outcome::Stored),
            (Err(_), Some(failed)) => Err(failed.into()),
            (Err(_), None) => Ok(Outcome::Unclear),
        }
    }
}

/// Says how far reading has come.
struct Watched<'a, R> {
    bytes: R,
    read: u64,
    length: u64,
    asked: &'a Asked,
    /// Nobody waits: the program and its compilers go first.
    is_behind: bool,
    /// How reading has failed.
    failed: Option<io::ErrorKind>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_behind && self.asked.is_for_later() {
            scheduler::lower_priority(scheduler::NICE);
            self.is_behind = true;
        }
        let read = self.bytes.read(buffer);
        let read = read.inspect_err(|error| self.failed = Some(error.kind()))?;
        self.read += read as u64;
        self.asked.is_coming(self.read, self.length);
        Ok(read)
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(ANSWER))
        .timeout_recv_response(Some(ANSWER))
        .timeout_recv_body(Some(OBJECT))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent("wasm-compile-cache");
    config.build().into()
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// A regular file, and its length: a pipe would never end.
fn open(path: PathBuf) -> io::Result<(File, u64)> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((file, metadata.len()))
}
