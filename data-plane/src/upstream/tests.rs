mod addresses;
mod calls;
mod guard;
mod retries;
mod streams;
mod tls;
