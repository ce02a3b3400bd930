//! What a power cut would leave behind, told from the order of the system calls, and whom they would follow.

use std::path::Path;

use super::tracer::Call;

const TEMPORARY: &str = ".tmp-";

/// The name of a path's last component.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Call {
    fn succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }

    /// Whether it may make a file.
    pub fn creates(&self) -> bool {
        self.opens().is_some_and(|flags| flags & libc::O_CREAT != 0)
    }

    /// Whether it removes a name.
    pub fn removes(&self) -> bool {
        matches!(
            self.number,
            libc::SYS_unlink | libc::SYS_unlinkat | libc::SYS_rmdir
        )
    }

    /// The flags, if it opens a file.
    fn opens(&self) -> Option<i32> {
        match self.number {
            libc::SYS_openat => Some(self.arguments[2] as i32),
            libc::SYS_open => Some(self.arguments[1] as i32),
            _ => None,
        }
    }

    fn renames(&self) -> bool {
        matches!(
            self.number,
            libc::SYS_rename | libc::SYS_renameat | libc::SYS_renameat2
        )
    }

    /// Whether it gives a file a name that it did not have.
    fn names(&self) -> bool {
        self.renames() || matches!(self.number, libc::SYS_link | libc::SYS_linkat)
    }

    fn is_on(&self, descriptor: i64) -> bool {
        self.paths.is_empty() && self.arguments[0] as i32 == descriptor as i32
    }

    fn syncs(&self, descriptor: i64) -> bool {
        matches!(self.number, libc::SYS_fsync | libc::SYS_fdatasync)
            && self.is_on(descriptor)
            && self.succeeded()
    }

    fn changes(&self, descriptor: i64) -> bool {
        matches!(
            self.number,
            libc::SYS_write
                | libc::SYS_pwrite64
                | libc::SYS_writev
                | libc::SYS_pwritev
                | libc::SYS_ftruncate
                | libc::SYS_fallocate
                | libc::SYS_copy_file_range
                | libc::SYS_sendfile
        ) && self.is_on(descriptor)
    }
}

/// Names that must outlive a power cut as soon as the call that made them is over.
fn is_durable(path: &str) -> bool {
    path.ends_with(".cwasm") || name(path) == "seal.key"
}

/// Checks the calls of an interval that nothing disturbed. Returns how many durable files it saw put in place.
///
/// - No file of the cache is changed under its name: what is opened for writing is new (`O_EXCL`), under a temporary
///   name; or a lock, which has no contents; or the counters, which are appended to, and whose torn end is told.
/// - No link is followed to a file, and none is put in a temporary file's place.
/// - A durable file gets its name when all its bytes are on the disk, and its folder is flushed after that.
pub fn check(calls: &[Call], root: &Path) -> Result<usize, String> {
    let root = root.to_str().ok_or("the path is no text")?;
    let mut durable = 0;
    for (at, call) in calls.iter().enumerate() {
        let inside = call.paths.iter().any(|path| path.starts_with(root));
        if !inside {
            continue;
        }
        if let Some(flags) = call.opens() {
            check_open(call, flags)?;
        }
        if matches!(call.number, libc::SYS_truncate) {
            return Err(format!("a file is changed under its name: {call:?}"));
        }
        if call.names() && call.succeeded() {
            let to = &call.paths[1];
            if is_durable(to) {
                check_durable(calls, at)?;
                durable += 1;
            }
        }
    }
    Ok(durable)
}

fn check_open(call: &Call, flags: i32) -> Result<(), String> {
    let path = &call.paths[0];
    let name = name(path);
    if flags & libc::O_ACCMODE != libc::O_RDONLY || flags & (libc::O_CREAT | libc::O_TRUNC) != 0 {
        let exclusive = libc::O_CREAT | libc::O_EXCL;
        let temporary = name.starts_with(TEMPORARY) && flags & exclusive == exclusive;
        let lock =
            name.ends_with(".lock") && flags & libc::O_NOFOLLOW != 0 && flags & libc::O_TRUNC == 0;
        let appended =
            name == "counters" && flags & libc::O_APPEND != 0 && flags & libc::O_NOFOLLOW != 0;
        if !temporary && !lock && !appended {
            return Err(format!("a file is changed under its name: {call:?}"));
        }
        return Ok(());
    }
    let is_folder = call.on_folder || flags & libc::O_DIRECTORY != 0;
    if is_folder || flags & libc::O_NOFOLLOW != 0 {
        Ok(())
    } else {
        Err(format!("a link would be followed: {call:?}"))
    }
}

/// Checks what comes before and after the call that gives a durable file its name.
fn check_durable(calls: &[Call], named: usize) -> Result<(), String> {
    let [from, to] = &calls[named].paths[..] else {
        return Err(format!("two paths are expected: {:?}", calls[named]));
    };
    if !name(from).starts_with(TEMPORARY) || folder(from) != folder(to) {
        return Err(format!(
            "{to} does not come from a temporary file beside it: {from}"
        ));
    }
    let opened = calls[..named]
        .iter()
        .rposition(|call| {
            let makes = |flags| flags & libc::O_EXCL != 0;
            call.opens().is_some_and(makes) && call.paths[0] == *from
        })
        .ok_or_else(|| format!("{from} was never made"))?;
    let descriptor = calls[opened].result.unwrap_or(-1);
    let last_change = calls[opened..named]
        .iter()
        .rposition(|call| call.changes(descriptor))
        .ok_or_else(|| format!("{from} was never written"))?;
    let written = &calls[opened + last_change..named];
    if !written.iter().any(|call| call.syncs(descriptor)) {
        return Err(format!("{to} gets its name before its bytes are flushed"));
    }
    let after = &calls[named..];
    let flushed = after.iter().enumerate().any(|(at, call)| {
        call.opens().is_some()
            && call.paths[0] == folder(to)
            && call.result.is_some_and(|descriptor| {
                descriptor >= 0 && after[at..].iter().any(|call| call.syncs(descriptor))
            })
    });
    if flushed {
        Ok(())
    } else {
        Err(format!("the name {to} is not flushed"))
    }
}

/// The temporary names that an interval made.
pub fn temporary_names(calls: &[Call]) -> Vec<&str> {
    calls
        .iter()
        .filter(|call| call.opens().is_some_and(|flags| flags & libc::O_EXCL != 0))
        .map(|call| name(&call.paths[0]))
        .collect()
}
