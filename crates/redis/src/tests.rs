mod board;
mod faults;
mod mail;
