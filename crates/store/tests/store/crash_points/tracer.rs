//! A process whose system calls are recorded, and one of them stopped, failed or cut short.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

/// What is done to the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// Nothing.
    None,
    /// It is killed as it enters this call of the interval (0 is the first).
    Kill(usize),
    /// This call is not made, and gives the error.
    Fail(usize, Errno),
    /// This read or write is of half the bytes it asked for.
    Short(usize),
}

/// A system call of the interval.
#[derive(Debug, Clone)]
pub struct Call {
    pub number: i64,
    pub arguments: [u64; 6],
    /// The paths among its arguments, in order.
    pub paths: Vec<String>,
    /// Whether the first path named a folder when the call returned.
    pub on_folder: bool,
    /// What it returned; none if the child did not live to see it.
    pub result: Option<i64>,
}

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    pub calls: Vec<Call>,
    /// What it said; none if it was killed.
    pub said: Option<String>,
}

const JOB: &str = "WASM_COMPILE_CACHE_TEST_JOB";
const SAYS: &str = "said: ";
/// Separates what is said from what libtest prints on the same line.
const END: &str = " :end";

/// In the child: what it is to do. None in the test itself.
pub fn job() -> Option<String> {
    std::env::var(JOB).ok()
}

/// In the child: does `act` as the interval that is traced, and ends the process.
pub fn interval(act: impl FnOnce() -> String) -> ! {
    raise(Signal::SIGSTOP).expect("the tracer is told");
    let said = act();
    // Nothing in the interval calls `kill`.
    kill(getpid(), None).expect("the tracer is told");
    println!("{SAYS}{said}{END}");
    std::process::exit(0);
}

/// In the child: lets the parent trace it.
pub fn traced() {
    if let Err(errno) = ptrace::traceme() {
        println!("{SAYS}ptrace is refused ({errno}){END}");
        std::process::exit(1);
    }
}

/// Runs the test named `test` of this file as a child with `job`.
///
/// # Panics
/// If the system does not let a process trace its child.
pub fn run(test: &str, job: &str, blow: Blow) -> Ended {
    let mut child = Command::new(std::env::current_exe().expect("the test has a file"))
        .args(["--exact", test, "--nocapture"])
        .env(JOB, job)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test starts itself");
    // Whichever of the child's threads is traced.
    let begun = wait(Pid::from_raw(-1));
    let WaitStatus::Stopped(pid, Signal::SIGSTOP) = begun else {
        panic!(
            "these tests need ptrace, and the child did not begin: {begun:?}\n{}\nIn a container, allow the system \
             call (docker run --cap-add=SYS_PTRACE, or --security-opt seccomp=unconfined)",
            output(&mut child)
        );
    };
    ptrace::setoptions(
        pid,
        ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL,
    )
    .expect("the child is traced");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("the child's memory can be read");
    let calls = follow(pid, &memory, blow)
        .unwrap_or_else(|ended| panic!("{job} {blow:?}: {ended:?}\n{}", output(&mut child)));
    let text = output(&mut child);
    child.wait().expect("the child ends");
    let said = text
        .split_once(SAYS)
        .and_then(|(_, rest)| rest.split_once(END))
        .map(|(said, _)| said.to_owned());
    let killed = matches!(blow, Blow::Kill(at) if at < calls.len());
    assert_eq!(said.is_none(), killed, "{job} {blow:?}\n{text}");
    Ended { calls, said }
}

/// All that the child wrote.
fn output(child: &mut Child) -> String {
    let mut text = String::new();
    if let (Some(out), Some(err)) = (&mut child.stdout, &mut child.stderr) {
        // Both are short, so neither waits for the other to be read.
        out.read_to_string(&mut text)
            .expect("the child writes text");
        err.read_to_string(&mut text)
            .expect("the child writes text");
    }
    text
}

/// Follows the child from the beginning of its interval to the end; its process goes on after that. The error is how the
/// process ended by itself in between, by a panic for instance.
fn follow(pid: Pid, memory: &File, blow: Blow) -> Result<Vec<Call>, WaitStatus> {
    let mut calls = Vec::new();
    loop {
        ptrace::syscall(pid, None).expect("the child goes on");
        stopped(pid)?;
        let mut registers = ptrace::getregs(pid).expect("the child has stopped");
        let number = registers.orig_rax.cast_signed();
        if number == libc::SYS_kill {
            ptrace::detach(pid, None).expect("the child goes on");
            return Ok(calls);
        }
        let arguments = [
            registers.rdi,
            registers.rsi,
            registers.rdx,
            registers.r10,
            registers.r8,
            registers.r9,
        ];
        let paths: Vec<_> = path_arguments(number)
            .iter()
            .map(|at| string(memory, arguments[*at]))
            // Then the descriptor beside it says which file.
            .filter(|path| !path.is_empty())
            .collect();
        let at = calls.len();
        calls.push(Call {
            number,
            arguments,
            paths,
            on_folder: false,
            result: None,
        });
        match blow {
            Blow::Kill(nth) if nth == at => {
                // A call that was entered is made even so on some kernels.
                registers.orig_rax = u64::MAX;
                ptrace::setregs(pid, registers).expect("the child has stopped");
                kill(pid, Signal::SIGKILL).expect("the child can be killed");
                let ended = wait(pid);
                assert!(matches!(ended, WaitStatus::Signaled(..)), "{ended:?}");
                return Ok(calls);
            }
            Blow::Fail(nth, _) if nth == at => {
                registers.orig_rax = u64::MAX;
                ptrace::setregs(pid, registers).expect("the child has stopped");
            }
            Blow::Short(nth) if nth == at => {
                registers.rdx = registers.rdx.div_ceil(2);
                ptrace::setregs(pid, registers).expect("the child has stopped");
            }
            _ => {}
        }
        ptrace::syscall(pid, None).expect("the child goes on");
        stopped(pid)?;
        let mut registers = ptrace::getregs(pid).expect("the child has stopped");
        match blow {
            Blow::Fail(nth, errno) if nth == at => {
                registers.rax = (-i64::from(errno as i32)).cast_unsigned();
                ptrace::setregs(pid, registers).expect("the child has stopped");
            }
            // Else the C library believes the call to have done more than it was asked for.
            Blow::Short(nth) if nth == at => {
                registers.rdx = arguments[2];
                ptrace::setregs(pid, registers).expect("the child has stopped");
            }
            _ => {}
        }
        let call = &mut calls[at];
        call.result = Some(registers.rax.cast_signed());
        call.on_folder = call
            .paths
            .first()
            .is_some_and(|path| std::path::Path::new(path).is_dir());
    }
}

/// Waits until the child enters or leaves a system call.
fn stopped(pid: Pid) -> Result<(), WaitStatus> {
    match wait(pid) {
        WaitStatus::PtraceSyscall(_) => Ok(()),
        other => Err(other),
    }
}

/// Waits for a process or thread that this thread started or traces; those of other threads are left to them.
fn wait(pid: Pid) -> WaitStatus {
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    waitpid(pid, Some(flags)).expect("the child can be waited for")
}

/// Which arguments are paths. Calls that are not here work on descriptors, or not on files.
fn path_arguments(number: i64) -> &'static [usize] {
    match number {
        libc::SYS_openat
        | libc::SYS_newfstatat
        | libc::SYS_statx
        | libc::SYS_mkdirat
        | libc::SYS_unlinkat
        | libc::SYS_utimensat
        | libc::SYS_fchmodat
        | libc::SYS_faccessat
        | libc::SYS_faccessat2
        | libc::SYS_readlinkat => &[1],
        libc::SYS_open
        | libc::SYS_stat
        | libc::SYS_lstat
        | libc::SYS_mkdir
        | libc::SYS_rmdir
        | libc::SYS_unlink
        | libc::SYS_access
        | libc::SYS_readlink
        | libc::SYS_chmod
        | libc::SYS_statfs
        | libc::SYS_truncate => &[0],
        libc::SYS_rename | libc::SYS_link | libc::SYS_symlink => &[0, 1],
        libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_linkat => &[1, 3],
        _ => &[],
    }
}

/// The string that ends with a zero at `address` of the child; empty for no address.
fn string(memory: &File, mut address: u64) -> String {
    let mut bytes = Vec::new();
    while address != 0 && bytes.len() < 4096 {
        // Less at the end of a page with nothing behind it.
        let mut part = [0; 256];
        let Ok(read) = memory.read_at(&mut part, address) else {
            break;
        };
        let part = &part[..read];
        let end = part.iter().position(|byte| *byte == 0);
        bytes.extend_from_slice(&part[..end.unwrap_or(read)]);
        if end.is_some() || read == 0 {
            break;
        }
        address += read as u64;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
