//! What is run.

use anyhow::Result;
use retrograde_tests::{GUEST_READY, build_guest, busybox_initrd, debian_kernel};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A minute of work, of which the processor sleeps a half: processes, a loop in the shell, sums over memory; and the end of the
/// shell, and with it of the guest.
const WORK: &str = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; j=0; while [ $j -lt 200 ]; do j=$((j+1)); ls /bin | wc -l >/dev/null; done; dd if=/dev/zero bs=64k count=2000 2>/dev/null | md5sum; sleep 30; exit\n";
/// Steps of one iteration of the loop.
const LOOP_STEPS: u64 = 26;
/// Longest time that any guest may need in any configuration.
pub const TIME_LIMIT: Duration = Duration::from_secs(600);

/// A guest and how to start it.
pub struct Guest {
    /// Name in tables.
    pub name: String,
    /// Kernel.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Command line of the kernel.
    pub cmdline: String,
    /// What to wait for on the console, and what to type then.
    pub typed: Option<(&'static str, &'static str)>,
    /// The same as a script of `retrograde record`.
    pub script: Option<PathBuf>,
}

impl Guest {
    /// Half a billion steps.
    pub fn short_loop() -> Guest {
        Guest::store_loop(500_000_000 / LOOP_STEPS)
    }

    /// Two billion steps.
    pub fn long_loop() -> Guest {
        Guest::store_loop(2_090_000_000 / LOOP_STEPS)
    }

    /// Ten billion steps.
    pub fn longest_loop() -> Guest {
        Guest::store_loop(10_000_000_000 / LOOP_STEPS)
    }

    /// The loop that ends at once: what starting a machine costs.
    pub fn no_loop() -> Guest {
        Guest::store_loop(4)
    }

    fn store_loop(iterations: u64) -> Guest {
        Guest {
            name: format!("32-bit loop of {iterations} iterations"),
            kernel: build_guest("loop"),
            initrd: None,
            cmdline: format!("iterations={iterations}"),
            typed: None,
            script: None,
        }
    }

    /// Debian to its shell, a minute of work, and off.
    pub fn linux(directory: &Path) -> Result<Guest> {
        let script = directory.join("linux.script");
        let typed = WORK.trim_end();
        std::fs::write(&script, format!("wait serial {GUEST_READY}\nwait serial \"# \"\nsend {typed}\\n\n"))?;
        Ok(Guest {
            name: "Debian Linux, boot to shell, a minute of work, power-off".into(),
            kernel: debian_kernel(),
            initrd: Some(busybox_initrd()),
            cmdline: "console=ttyS0 quiet panic=-1".into(),
            typed: Some(("# ", WORK)),
            script: Some(script),
        })
    }
}
