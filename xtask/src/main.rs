//! The project driver.
fn main() {}
