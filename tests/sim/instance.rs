//! The traffic: the calls of the instances that succeed each other in a seat.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use token_broker::{Broker, EXPIRING, Grant, Identity, RawRequest, Settings, TokenRequest};

use crate::blocking::Blocking;
use crate::fault::{Call, FaultKind, Plan};
use crate::invariant::{Invariants, STORE_KEY};
use crate::machine::Seat;
use crate::platform::{client_id, scope};
use crate::store::{Entries, SharedStore};
use crate::world::World;

/// The state that all instances share.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) world: World,
    pub(crate) plan: Rc<Plan>,
    invariants: Invariants,
    entries: Rc<RefCell<Entries>>,
}

struct Instance {
    seat: Seat,
    broker: Broker<Seat, SharedStore>,
}

impl Fleet {
    pub(crate) fn new(world: World, plan: Rc<Plan>) -> Self {
        let invariants = Invariants::new(&world, &plan);
        Self { world, plan, invariants, entries: Rc::default() }
    }

    /// Starts the calls and the instant faults.
    pub(crate) fn start(&self) {
        for (seat, calls) in self.plan.seats.iter().enumerate() {
            let machine = seat % self.plan.skews.len();
            self.world.spawn(None, self.clone().use_seat(seat, machine, calls.clone()));
        }
        for fault in self.plan.faults.iter().filter(|fault| fault.kind.is_instant()) {
            let (fleet, from, kind) = (self.clone(), *fault.times.start(), fault.kind);
            self.world.spawn(None, async move {
                fleet.world.sleep_until(from).await;
                match kind {
                    FaultKind::StoreSpoils => fleet.entries.borrow_mut().spoil(),
                    _ => fleet.entries.borrow_mut().clear(),
                }
            });
        }
    }

    async fn use_seat(self, seat: usize, machine: usize, calls: Vec<Call>) {
        let blocks = self.plan.blocks(seat);
        // As on Spin 3.6; the others are as in Node.
        let serves_once = blocks && !seat.is_multiple_of(4);
        let mut instance: Option<Rc<Instance>> = None;
        for call in calls {
            self.world.sleep_until(call.at).await;
            // An instance that is replaced, not killed, ends when it is idle.
            let ends =
                |instance: &Rc<Instance>| call.is_new_instance && !self.world.is_busy(instance.seat.instance);
            let gone = |instance: &Rc<Instance>| self.world.is_dead(instance.seat.instance);
            let stays = instance.take().filter(|instance| !serves_once && !ends(instance) && !gone(instance));
            let used = stays.unwrap_or_else(|| Rc::new(self.instance(machine, blocks)));
            for key in call.key.map_or(0..self.plan.keys, |key| key..key + 1) {
                let serve = Rc::clone(&used).serve(key, call.clone());
                self.world.spawn(Some(used.seat.instance), serve);
            }
            instance = Some(used);
        }
    }

    fn instance(&self, machine: usize, blocks: bool) -> Instance {
        let Self { world, plan, invariants, entries } = self.clone();
        let instance = world.serial();
        let blocking = blocks.then(Blocking::default);
        if blocks {
            world.kill_whole(instance);
        }
        let store = SharedStore { world, plan, entries, invariants, machine, blocking: blocking.clone() };
        let (world, plan, invariants) = (self.world.clone(), Rc::clone(&self.plan), self.invariants.clone());
        let seat = Seat { world, plan, invariants, machine, instance, blocking };
        let settings = [("TOKEN_BROKER_STORE_KEY", STORE_KEY), ("TOKEN_BROKER_LOG", "debug")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Instance { broker: Broker::new(seat.clone(), store, &Settings::from_pairs(settings)), seat }
    }
}

impl Instance {
    /// One call, and the actions of its caller after it.
    async fn serve(self: Rc<Self>, key: usize, Call { refused, patience, .. }: Call) {
        let seat = &self.seat;
        // A host with WASI 0.2 drops no call.
        let patience = patience.filter(|_| seat.blocking.is_none());
        let turn = match &seat.blocking {
            Some(blocking) => Some(blocking.turn().await),
            None => None,
        };
        let began = seat.world.now();
        seat.world.note(|| {
            format!("task {} asks instance {} for token {key}", seat.world.running(), seat.instance)
        });
        if let Some(token) = client_id(key).map_or_else(|| self.broker.peek(&scope(key)), |_| None) {
            seat.invariants.given(seat, key, &token, began);
        }
        let request = request(key);
        let call = pin!(self.broker.token(&request));
        let outcome = match patience {
            None => call.await,
            Some(patience) => match select(call, seat.world.sleep(patience)).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(_) => return seat.world.abandon(seat.instance, key),
            },
        };
        seat.invariants.ended(seat, key, began, outcome.as_ref().err());
        let Ok(Grant { token, refresh }) = outcome else { return };
        seat.invariants.given(seat, key, &token, began);
        if refused && self.broker.forget(&scope(key)) {
            seat.world.note(|| format!("instance {} forgets the tokens of {}", seat.instance, scope(key)));
            seat.invariants.forgotten(seat, key, &token);
            self.broker.forget_shared(&scope(key)).await;
        }
        let Some(ticket) = refresh else { return };
        let ends_soon = token.expires_on() <= (seat.clock() + EXPIRING).as_secs();
        if turn.is_some() {
            // Awaited before: it is left to the next call.
            if ends_soon {
                seat.world.abandon(seat.instance, key);
            }
            self.broker.refresh_briefly(ticket).await;
        } else if seat.world.one_in(4) {
            // A caller without tasks drops the ticket. A refresh that has begun is left to others.
            if ends_soon {
                seat.world.abandon(seat.instance, key);
            }
        } else {
            if ends_soon {
                seat.world.hand_over();
            }
            self.broker.refresh(ticket).await;
        }
    }
}

fn request(key: usize) -> TokenRequest {
    let identity = client_id(key).map_or(Identity::Default, |id| Identity::client_id(id).unwrap());
    TokenRequest::parse(RawRequest { scopes: vec![scope(key)], identity, ..RawRequest::default() }).unwrap()
}
