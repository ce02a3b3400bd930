//! A module whose bytes are still arriving.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::baseline::Baseline;
use super::compile::{self, Sought};
use super::keeping::Keeping;
use super::module::Module;
use super::options::{CacheMode, CompileOptions};
use super::storage;
use crate::error::CompileError;
use crate::panics;
use crate::stream::{Ingest, Refused, explain};
use crate::trace::Span;

/// When a stream pauses this long, the functions that are there are compiled, although their
/// chunk is not full: an invalid one is reported without waiting for further bytes.
const STALL: Duration = Duration::from_millis(20);

enum Message {
    Bytes(Vec<u8>),
    End,
    /// From the [`Baseline`].
    News,
    /// Nobody waits any more.
    Abort,
}

/// A compile whose bytes are still arriving, on a thread of its own.
pub struct StreamCompile {
    sender: Sender<Message>,
    queued: Arc<AtomicUsize>,
}

impl StreamCompile {
    /// Starts; on the compile's thread `drained` is called whenever it took in bytes, with how many
    /// are still queued; `rests`, when nothing is left to do for the pushes so far, with how many
    /// those were; `done` once, with the module or the error. Dropping the value without
    /// [`Self::end`] gives up.
    pub fn start(
        options: CompileOptions,
        drained: impl Fn(usize) + Send + 'static,
        rests: impl Fn(usize) + Send + 'static,
        done: impl FnOnce(Result<Arc<Module>, Refused>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = unbounded();
        let queued = Arc::new(AtomicUsize::new(0));
        let stream = Stream {
            options,
            receiver,
            wake: sender.clone(),
            queued: Arc::clone(&queued),
            drained: Box::new(drained),
            rests: Box::new(rests),
        };
        std::thread::Builder::new()
            .name("wasm-stream".to_owned())
            .spawn(move || {
                let outcome = panics::catch("the compiler", || stream.run());
                let outcome = outcome.unwrap_or_else(|panicked| {
                    Err(Some(CompileError::unsupported(panicked.to_string()).into()))
                });
                match outcome {
                    Ok((module, keeping)) => {
                        done(Ok(module));
                        if let Some(keeping) = keeping {
                            keeping.keep();
                        }
                    }
                    Err(Some(error)) => done(Err(error)),
                    Err(None) => {}
                }
            })?;
        Ok(Self { sender, queued })
    }

    /// More bytes; how many are queued.
    pub fn push(&self, bytes: Vec<u8>) -> usize {
        let queued = self.queued.fetch_add(bytes.len(), Ordering::AcqRel) + bytes.len();
        let _ = self.sender.send(Message::Bytes(bytes));
        queued
    }

    /// How many bytes are queued.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    /// That was all.
    pub fn end(&self) {
        let _ = self.sender.send(Message::End);
    }
}

impl Drop for StreamCompile {
    fn drop(&mut self) {
        let _ = self.sender.send(Message::Abort);
    }
}

/// The compile thread's side of a [`StreamCompile`].
struct Stream {
    options: CompileOptions,
    receiver: Receiver<Message>,
    wake: Sender<Message>,
    queued: Arc<AtomicUsize>,
    drained: Box<dyn Fn(usize) + Send>,
    rests: Box<dyn Fn(usize) + Send>,
}

impl Stream {
    /// `Err(None)` when it was given up.
    fn run(self) -> Result<(Arc<Module>, Option<Keeping>), Option<Refused>> {
        let span = Span::start();
        let wake = self.wake.clone();
        let baseline = Baseline::streaming(
            self.options.baseline,
            Box::new(move || {
                let _ = wake.send(Message::News);
            }),
        );
        let mut ingest = Ingest::new();
        if self.options.cached_only {
            // Its hash is all that is needed.
            ingest.give_up();
        }
        if let Some(error) = self.receive(&baseline, &mut ingest)? {
            return Err(Some(ingest.refuse(error)));
        }
        let options = &self.options;
        let (hash, size) = (ingest.hash(), ingest.size());
        let (module, bytes) = match compile::seek(hash, size, options, Span::start()) {
            Ok(Sought::Found(module)) => {
                baseline.cancel();
                let bytes = ingest.into_bytes();
                compile::keep_wire(&module, options, || Arc::clone(&bytes));
                (module, bytes)
            }
            Ok(Sought::Missing(making)) => {
                let ingested = ingest.finish(&mut |chunk| baseline.submit(chunk));
                let bytes = match &ingested {
                    Ok(ingested) if options.fetched.is_some() => Arc::clone(&ingested.bytes),
                    _ => Arc::default(),
                };
                (making.finish(baseline, ingested, options, &span)?, bytes)
            }
            Err(error) => {
                baseline.cancel();
                return Err(Some(ingest.refuse(error)));
            }
        };
        Ok((module, Keeping::new(hash, size, Some(bytes), options)))
    }

    /// Takes in the bytes, while what is there of them is compiled. The error is one of a module that another engine may take:
    /// all of its bytes are there then.
    fn receive(
        &self,
        baseline: &Baseline,
        ingest: &mut Ingest,
    ) -> Result<Option<CompileError>, Option<Refused>> {
        let mut submit = |chunk| baseline.submit(chunk);
        // What this engine refused, while the rest arrives for another one.
        let mut refused = None;
        let mut taken = 0;
        // Nothing is left to flush.
        let mut stalled = false;
        loop {
            let mut failed = None;
            let message = if stalled {
                self.receiver.recv().map_err(RecvTimeoutError::from)
            } else {
                self.receiver.recv_timeout(STALL)
            };
            match message {
                Ok(Message::Bytes(bytes)) => {
                    taken += 1;
                    stalled = false;
                    let known = |head: &[u8; 32]| self.is_known(head);
                    failed = ingest.push(&bytes, &known, &mut submit).err();
                    let left = self.queued.fetch_sub(bytes.len(), Ordering::AcqRel) - bytes.len();
                    (self.drained)(left);
                }
                Ok(Message::News) => failed = baseline.error(),
                Ok(Message::End) => return Ok(refused),
                Err(RecvTimeoutError::Timeout) => {
                    ingest.flush(&mut submit);
                    stalled = true;
                }
                Ok(Message::Abort) | Err(RecvTimeoutError::Disconnected) => {
                    baseline.cancel();
                    return Err(None);
                }
            }
            let Some(error) = failed.filter(|_| refused.is_none()) else {
                if stalled && (refused.is_some() || baseline.rests()) {
                    (self.rests)(taken);
                }
                continue;
            };
            let error = explain(baseline.refuse(error), ingest.bytes());
            let kept = self.options.fallback && matches!(error, CompileError::Unsupported { .. });
            if !kept {
                return Err(Some(error.into()));
            }
            ingest.give_up();
            refused = Some(error);
        }
    }

    /// Whether a module with the same head was cached: this one probably is, too.
    fn is_known(&self, head: &[u8; 32]) -> bool {
        let options = &self.options;
        storage::must_be_cached(u64::MAX, options.min_size)
            || options.cache != CacheMode::Off
                && storage::store(options).is_some_and(|store| store.heads().known_head(head))
    }
}
