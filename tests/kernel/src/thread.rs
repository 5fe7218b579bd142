// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads of a test image: they share address space and capability space with the initial thread, unless told otherwise.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use sel4::{IpcBuffer, UserContext, cap};

/// How many threads there can be, the two of the environment included.
pub const MAX_THREADS: usize = 10;
/// Bytes of a thread's stack.
const STACK: usize = 16 * 1024;

/// What a thread runs: no captures, since it may run in another address space or longer than its maker.
pub type Body = fn(&mut Me);

/// What a thread knows of itself.
#[derive(Debug)]
pub struct Me {
    /// Arguments.
    pub args: [u64; 4],
    /// Its IPC buffer. The implicit one is the initial thread's.
    pub ipc: &'static mut IpcBuffer,
    /// Its own TCB.
    pub tcb: cap::Tcb,
    /// Its badged capability to the initial thread's notification.
    pub done: cap::Notification,
}

/// A thread.
#[derive(Debug, Clone, Copy)]
pub struct Thread {
    /// TCB.
    pub tcb: cap::Tcb,
    /// Scheduling context.
    pub sc: cap::SchedContext,
    /// Number; its bit in the initial thread's notification, and the badge of its fault endpoint's capability.
    pub id: usize,
}

#[repr(C, align(4096))]
struct Area {
    ipc: [u8; 4096],
    guard: [u64; 8],
    stack: [u8; STACK],
    start: Option<Start>,
}

#[derive(Clone, Copy)]
struct Start {
    body: Body,
    args: [u64; 4],
    tcb: cap::Tcb,
    done: cap::Notification,
}

struct Areas(UnsafeCell<[Area; MAX_THREADS]>);

// SAFETY: an area is written by the initial thread before its thread starts, then used by that thread alone.
unsafe impl Sync for Areas {}

static AREAS: Areas = Areas(UnsafeCell::new(
    [const { Area { ipc: [0; 4096], guard: [0; 8], stack: [0; STACK], start: None } }; MAX_THREADS],
));

fn area(id: usize) -> *mut Area {
    assert!(id < MAX_THREADS);
    // SAFETY: inside the array.
    unsafe { AREAS.0.get().cast::<Area>().add(id) }
}

/// Address of the page of thread `id`'s IPC buffer, a page of the image.
pub fn ipc_buffer_address(id: usize) -> usize {
    area(id) as usize
}

/// Prepares what thread `id` will run and returns the registers to start it with. The thread must not be running.
pub fn prepare(id: usize, body: Body, args: [u64; 4], tcb: cap::Tcb, done: cap::Notification) -> UserContext {
    let area = area(id);
    // SAFETY: the thread isn't running, so nobody else uses the area.
    unsafe {
        (*area).ipc = [0; 4096];
        (*area).start = Some(Start { body, args, tcb, done });
    }
    // SAFETY: only the address is taken.
    let top = unsafe { &raw mut (*area).stack } as usize + STACK;
    UserContext {
        rip: entry as *const () as u64,
        // As after a call: 8 bytes below a multiple of 16.
        rsp: top as u64 - 8,
        rflags: 0x202,
        rdi: id as u64,
        ..UserContext::default()
    }
}

extern "C" fn entry(id: usize) -> ! {
    let area = area(id);
    // SAFETY: `prepare` wrote it, and only this thread uses it now.
    let start = unsafe { (*area).start };
    let start = start.expect("a thread that was not prepared");
    // SAFETY: the page is this thread's IPC buffer and nothing else.
    let ipc = unsafe { &mut *(&raw mut (*area).ipc).cast::<IpcBuffer>() };
    let mut me = Me { args: start.args, ipc, tcb: start.tcb, done: start.done };
    (start.body)(&mut me);
    me.finish()
}

impl Me {
    /// Tells the initial thread and stops.
    pub fn finish(&mut self) -> ! {
        self.done.signal();
        loop {
            let _ = self.tcb.tcb_suspend();
        }
    }
}

const NUM_CELLS: usize = 64;
static CELLS: [AtomicU64; NUM_CELLS] = [const { AtomicU64::new(0) }; NUM_CELLS];

/// A number that all threads share; zero at the start of each check.
pub fn cell(index: usize) -> &'static AtomicU64 {
    &CELLS[index]
}

/// Sets all cells to zero.
pub fn clear_cells() {
    CELLS.iter().for_each(|cell| cell.store(0, Ordering::Relaxed));
}

/// Reads a cell.
pub fn get(index: usize) -> u64 {
    CELLS[index].load(Ordering::SeqCst)
}

/// Writes a cell.
pub fn put(index: usize, value: u64) {
    CELLS[index].store(value, Ordering::SeqCst);
}

/// Adds to a cell.
pub fn add(index: usize, value: u64) {
    CELLS[index].fetch_add(value, Ordering::SeqCst);
}
