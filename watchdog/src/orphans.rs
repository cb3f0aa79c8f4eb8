//! Reaping what a function's processes left behind.
//!
//! In a container the watchdog is process 1, and elsewhere a subreaper: descendants whose parent
//! exited become its children, and stay zombies until it waits for them. Waiting for just any child
//! would take the exit status of a request's own process from the request, so those are known here.

use std::collections::HashSet;
use std::io;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use tokio::runtime::Handle;

/// From the end of a request to the look for what it left, which reads two to five small files.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause to the next look while orphans are still alive.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The children that are not to be touched, and the task that looks for others.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    children: Mutex<Children>,
}

#[derive(Debug, Default)]
struct Children {
    /// Started here and not reaped yet.
    own: HashSet<Pid>,
    /// Being started: they exist, but are not in `own` yet.
    starting: usize,
    /// A look is to come.
    looking: bool,
}

impl Orphans {
    /// Adopts orphans from now on.
    pub(crate) fn adopt() -> Arc<Self> {
        // Where the kernel refuses, orphans go to process 1, which reaps them.
        let _ = set_child_subreaper(Some(getpid()));
        Arc::default()
    }

    /// Starts a child that its owner waits for.
    ///
    /// # Errors
    /// Why it does not start.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<Child> {
        self.children.lock().starting += 1;
        let started = command.spawn();
        let mut children = self.children.lock();
        children.starting -= 1;
        if let Ok(child) = &started {
            children.own.insert(Pid::from_child(child));
        }
        started
    }

    /// Forgets a child that its owner has reaped, and sees to it that its orphans are looked for.
    pub(crate) fn reaped(self: &Arc<Self>, child: Pid) {
        let mut children = self.children.lock();
        children.own.remove(&child);
        let looking = std::mem::replace(&mut children.looking, true);
        if let (false, Ok(runtime)) = (looking, Handle::try_current()) {
            runtime.spawn(Arc::clone(self).look_until_gone());
        }
    }

    async fn look_until_gone(self: Arc<Self>) {
        let mut pause = LOOK_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            // Before the look: whoever comes after it begins another.
            self.children.lock().looking = false;
            let alive = self.look();
            if !alive || std::mem::replace(&mut self.children.lock().looking, true) {
                return;
            }
            pause = (pause * 2).min(LOOK_PAUSE_MAX);
        }
    }

    /// Looks for orphans for ever, for a server whose requests start no processes here.
    pub(crate) async fn look_forever(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_PAUSE_MAX).await;
            self.look();
        }
    }

    /// Reaps the orphans that are dead; true when others are left.
    fn look(&self) -> bool {
        let Ok(listed) = list_children() else { return false };
        let children = self.children.lock();
        // Whatever was listed and is our own is in `own` now, unless it is still being started.
        if children.starting > 0 {
            return true;
        }
        let orphans = listed.into_iter().filter(|pid| !children.own.contains(pid));
        orphans.fold(false, |alive, pid| matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)) | alive)
    }
}

/// The children of all threads. Kernels without `CONFIG_PROC_CHILDREN` do not tell.
fn list_children() -> io::Result<Vec<Pid>> {
    let mut pids = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task")? {
        let listed = std::fs::read_to_string(thread?.path().join("children"))?;
        let listed = listed.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
        pids.extend(listed.filter_map(Pid::from_raw));
    }
    Ok(pids)
}
