//! Who stands beside a door: a witness that sees every move of its relay with what is on disk at that moment, and somebody
//! who lets go what hangs.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use facelatch_boards::sim::{Edge, Handle, Part};
use facelatch_device::audit::{Entry, page};
use facelatch_protocol::audit::Chain;

use crate::{
    judge::Seen,
    life::{LATE, STALL_MS},
    stage::DEADLINE,
};

/// What the witness reads and writes down.
pub(crate) struct Book {
    pub(crate) audit: PathBuf,
    pub(crate) chain: Chain,
    pub(crate) entries: Vec<Entry>,
    pub(crate) seen: Vec<Seen>,
    /// Whether the record cannot be written just now, or could not a moment ago.
    pub(crate) no_disk: bool,
    /// Until when somebody was to be let out.
    pub(crate) exit_until: Duration,
    pub(crate) fire: bool,
    pub(crate) wrong: Vec<String>,
}

impl Book {
    /// About the record in this folder, from its beginning.
    pub(crate) fn of(audit: PathBuf) -> Book {
        Book {
            audit,
            chain: Chain::BEGINNING,
            entries: vec![],
            seen: vec![],
            no_disk: false,
            exit_until: Duration::ZERO,
            fire: false,
            wrong: vec![],
        }
    }

    /// Another life begins; the record goes on.
    pub(crate) fn turn_page(&mut self) {
        let audit = std::mem::take(&mut self.audit);
        *self = Book {
            chain: self.chain,
            ..Book::of(audit)
        };
    }

    /// Reads what is new on disk, and checks that it continues what was there.
    pub(crate) fn read(&mut self) {
        // Without the folder there is nothing new.
        while let Ok(page) = page(&self.audit, self.chain.next_seq) {
            let entries = &mut self.entries;
            let taken = self
                .chain
                .take_page(&page, &mut |record| entries.extend(record.entry()));
            if let Err(fault) = taken {
                self.wrong.push(format!("the record: {fault:?}"));
                return;
            }
            if page.records.is_empty() {
                return;
            }
        }
    }

    pub(crate) fn witness(&mut self, edge: &Edge) {
        self.read();
        self.seen.push(Seen {
            at: edge.at,
            unix_ms: edge.unix_ms,
            open: edge.on,
            seq: self.chain.next_seq - 1,
            unrecordable: self.no_disk,
            way_out_until: match self.fire {
                true => Duration::MAX - LATE,
                false => self.exit_until,
            },
        });
    }
}

/// Lets go what hangs: at once, or when the guard has acted.
pub(crate) struct Releaser {
    thread: JoinHandle<()>,
    ended: Arc<AtomicBool>,
}

impl Releaser {
    pub(crate) fn start(sim: &Handle, long: &Arc<AtomicBool>, book: &Arc<Mutex<Book>>) -> Releaser {
        let ended = Arc::new(AtomicBool::new(false));
        let (sim, long, book) = (sim.clone(), Arc::clone(long), Arc::clone(book));
        let thread = thread::spawn({
            let ended = Arc::clone(&ended);
            move || {
                while !ended.load(Ordering::SeqCst) {
                    if !sim.strikes.wait_until_hanging(Duration::from_millis(20)) {
                        continue;
                    }
                    if long.swap(false, Ordering::SeqCst) {
                        stand_still(&sim, &book);
                    }
                    sim.strikes.release();
                }
            }
        });
        Releaser { thread, ended }
    }

    pub(crate) fn stop(self) {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.join().expect("it panics at nothing");
    }
}

/// Waits until the guard has put the relay at rest. It cannot while the relay's own driver hangs, and need not while only
/// the camera does.
fn stand_still(sim: &Handle, book: &Mutex<Book>) {
    thread::sleep(Duration::from_millis(STALL_MS + 200));
    let hanging = sim.strikes.hanging();
    let loop_hangs = |part: &Part| !matches!(part, Part::Relay | Part::Camera);
    if !hanging.iter().any(loop_hangs) || hanging.contains(&Part::Relay) {
        return;
    }
    let began = Instant::now();
    while sim.relay.is_on() {
        // Before whoever waits for the door gives up.
        if began.elapsed() > DEADLINE / 4 {
            let wrong = "unlocked while the loop stands still".to_owned();
            lock(book).wrong.push(wrong);
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    // A witness may run in a thread that panics later.
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
