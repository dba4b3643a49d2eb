//! Framing, hosts, paths and header caps: what every request must satisfy before anything looks at it.

mod head;

pub use head::Head;
