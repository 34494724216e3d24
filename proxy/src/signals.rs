//! Ctrl-C, SIGTERM and a closed terminal end things in order.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Notices SIGINT, SIGTERM and SIGHUP.
pub struct Signals {
    flag: Arc<AtomicBool>,
    pipe: UnixStream,
}

impl Signals {
    /// From now on these signals no longer kill the process. The second one does, if the first is not heeded.
    pub fn catch() -> Result<Signals> {
        let (pipe, write_end) = UnixStream::pair().context("cannot make a pipe for signals")?;
        pipe.set_nonblocking(true)?;
        let flag = Arc::new(AtomicBool::new(false));
        // A file that reaches the size limit is then an error of the write, with a message.
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(signal, write_end.try_clone()?)?;
        }
        Ok(Signals { flag, pipe })
    }

    /// Notices nothing, for tests: only the flag tells.
    #[cfg(test)]
    pub fn detached() -> Result<Signals> {
        Ok(Signals { flag: Arc::default(), pipe: UnixStream::pair()?.0 })
    }

    /// Whether one has come.
    pub fn caught(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// The flag that [`Signals::caught`] reads.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// A descriptor that becomes readable when one comes.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
