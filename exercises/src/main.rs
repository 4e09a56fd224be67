//! Shows the exercises one by one, and checks them.

#[allow(dead_code)]
mod task;

fn main() {}
