//! The near end of any counter, so that a request's rates and budgets are taken from alike.

use std::time::Duration;

use limits::{
    Rate,
    budget::{self, Budget, NearBudget, Now},
    near::{self, Alone, Near, Step, Terms},
    shared::{Ask, Of, Reading},
};

/// This process's end of one counter, and what the counter admits now.
#[derive(Debug, Clone, Copy)]
pub enum End<'a> {
    /// Of a rate.
    Rate(&'a Near, Rate),
    /// Of a budget.
    Budget(&'a NearBudget, Budget),
}

/// What is asked of the store.
#[derive(Debug)]
pub(super) enum Asking {
    Rate(near::Asking),
    Budget(budget::Asking),
}

impl Asking {
    pub(super) fn ask(&self) -> Ask {
        match self {
            Self::Rate(asking) => asking.ask,
            Self::Budget(asking) => asking.ask,
        }
    }
}

/// From where units came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    Lease,
    /// The store; with [`Reading::moment`].
    Store(u64),
    /// This proxy's share of a rate.
    Share {
        tat: u64,
        owed_tat: u64,
    },
    /// This proxy's share of a budget.
    BudgetShare,
}

impl End<'_> {
    pub(super) fn of(self) -> Of {
        match self {
            Self::Rate(_, rate) => Of::Rate(rate.storable()),
            Self::Budget(_, budget) => Of::Budget(budget),
        }
    }

    pub(super) fn spend(self, now: Now, proxies: u32, cost: u32) -> Step {
        match self {
            Self::Rate(near, rate) => near.spend(now.nanos, terms(rate, proxies), cost),
            Self::Budget(near, budget) => near.spend(now, budget, cost),
        }
    }

    pub(super) fn wants_more(self, now: Now, proxies: u32) -> bool {
        match self {
            Self::Rate(near, rate) => near.wants_more(now.nanos, terms(rate, proxies)),
            Self::Budget(near, budget) => near.wants_more(now, budget, proxies),
        }
    }

    pub(super) fn ask(self, now: Now, proxies: u32, cost: u32) -> Asking {
        match self {
            Self::Rate(near, rate) => Asking::Rate(near.ask(now.nanos, terms(rate, proxies), cost)),
            Self::Budget(near, budget) => Asking::Budget(near.ask(now, budget, proxies, cost)),
        }
    }

    pub(super) fn answered(
        self,
        asking: &Asking,
        proxies: u32,
        reading: Reading,
        admitted: bool,
        refusing: bool,
    ) {
        match (self, asking) {
            (Self::Rate(near, rate), Asking::Rate(asking)) => {
                near.answered(asking, terms(rate, proxies), reading, admitted, refusing);
            }
            (Self::Budget(near, _), Asking::Budget(asking)) => near.answered(asking, reading, refusing),
            // One counter does not ask what another answers.
            (Self::Rate(..), Asking::Budget(_)) | (Self::Budget(..), Asking::Rate(_)) => {}
        }
    }

    pub(super) fn unanswered(self, asking: &Asking) {
        match (self, asking) {
            (Self::Rate(near, _), Asking::Rate(asking)) => near.unanswered(asking),
            (Self::Budget(near, _), Asking::Budget(asking)) => near.unanswered(asking),
            (Self::Rate(..), Asking::Budget(_)) | (Self::Budget(..), Asking::Rate(_)) => {}
        }
    }

    pub(super) fn spend_alone(self, now: Now, proxies: u32, cost: u32) -> Result<Source, (Duration, u32)> {
        match self {
            Self::Rate(near, rate) => {
                near.spend_alone(now.nanos, terms(rate, proxies), cost).map(|alone| match alone {
                    Alone::Lease => Source::Lease,
                    Alone::Share { tat, owed_tat } => Source::Share { tat, owed_tat },
                })
            }
            Self::Budget(near, budget) => near
                .spend_alone(now, budget, proxies, cost)
                .map(|leased| if leased { Source::Lease } else { Source::BudgetShare }),
        }
    }

    /// Gives back what is not in the store.
    pub(super) fn give_back(self, now: Now, proxies: u32, units: u32, source: Source) {
        match (self, source) {
            (Self::Rate(near, _), Source::Lease) => near.give_back(now.nanos, units),
            (Self::Rate(near, rate), Source::Share { tat, owed_tat }) => {
                near.give_back_share(terms(rate, proxies), units, tat, owed_tat);
            }
            (Self::Budget(near, budget), Source::Lease | Source::BudgetShare) => {
                near.give_back(now, budget, units, matches!(source, Source::Lease));
            }
            (_, Source::Store(_))
            | (Self::Rate(..), Source::BudgetShare)
            | (Self::Budget(..), Source::Share { .. }) => {}
        }
    }
}

fn terms(rate: Rate, proxies: u32) -> Terms {
    Terms { rate: rate.storable(), proxies }
}
