//! What the process itself gives away: nothing. Its memory holds secrets, so it leaves no core dump, and no other process of
//! its user may attach to it and read them.

use anyhow::Context as _;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Takes effect for the whole process, and for what it starts.
pub(crate) fn keep() -> anyhow::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).context("forbidding core dumps")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("hiding the memory of the process")
}
