mod addresses;
mod calls;
mod guard;
mod streams;
mod tls;
