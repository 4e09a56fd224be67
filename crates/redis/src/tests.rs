mod board;
mod faults;
mod load;
mod mail;
mod tls;
