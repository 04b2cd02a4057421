//! Offline kill orders, as an operator signs them.

use crypto::SigningKey;
use ids::KillId;
use seams::{Clock as _, SystemClock};
use wire::kill::{Kill, ORDER_CONTEXT, Order, Target, Unverified};

const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Whose orders every proxy of the tests follows.
#[must_use]
pub fn key() -> SigningKey {
    SigningKey::from_seed(&[42; 32]).unwrap()
}

/// An order's text.
#[must_use]
pub fn signed(order: &Order, key: &SigningKey) -> String {
    let body = order.encode();
    Unverified { signature: key.sign(ORDER_CONTEXT, &body).to_vec(), body }.to_text()
}

/// Stops a tenant.
#[must_use]
pub fn stop(id: KillId, tenant: &str) -> Order {
    let now = SystemClock.now();
    let kill = Kill { id, target: Target::Tenant(tenant.parse().unwrap()), drill: false, at: now };
    Order { issued: now, expires: now.plus(DAY), kill: Some(kill), lifted: Vec::new() }
}

/// Lifts what an order has stopped.
#[must_use]
pub fn lift(id: KillId) -> Order {
    let now = SystemClock.now();
    Order { issued: now, expires: now.plus(DAY), kill: None, lifted: vec![id] }
}
