//! The program as a process of its own: what only a process has, such as signals, an end, and files that outlive it.

mod broken;
mod cost_verb;
mod gateway;
mod kept_quotas;
mod leaks;
