//! What an exchange asks of the queue before its upstream, and what its caller hears of that. Nothing is decided here.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_core::cost::Estimate;
use tollgate_core::identity::{Facts, Identity};
use tollgate_core::journal::Journal;
use tollgate_core::ruling::{Denial, Refusal};
use tollgate_core::stage::Stage;
use tollgate_core::time::Tick;
use tollgate_layers::intake::Plan;
use tollgate_layers::routes::{Found, Route, Verb};
use tollgate_limit::{Applicant, Priority};

use crate::exchange::{Exchange, Seen};
use crate::snapshot::Policy;
use crate::upstream::Ask;
use crate::upstream::queue::{TurnedAway, refusal};
use crate::worker::Worker;

/// Which one a request is in line, for those who ask with `Prefer: wait=N`.
const POSITION: HeaderName = HeaderName::from_static("tollgate-queue-position");
/// Says that a preference was followed (RFC 7240, 3).
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// The longest wait that anybody can prefer, in seconds.
const LONGEST: u64 = 86_400;

/// What a caller wants to know of the queue.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Curious {
    /// The longest that it wants to wait, in seconds.
    pub wait_secs: Option<u64>,
    /// Which one it was in line; 0 if there was no line.
    pub position: u32,
}

/// Refuses at once, before the body is read, what could not be done in time whatever it says. Where a route leads to
/// several upstreams, one that would take it is enough. Whoever wants to know their place is let through to hear it.
///
/// # Errors
/// `overloaded`, and when it makes sense to come again.
pub fn foresee(
    p: &Policy,
    log: &mut Journal,
    (facts, who, from, now): (&Facts, &Identity, IpAddr, Tick),
    (found, plan, curious): (&Found<'_>, &Plan, Curious),
) -> Result<(), Denial> {
    let route = found.route;
    let of_models = route.models.iter().filter_map(|model| p.upstream_of(*model));
    let mut upstreams = of_models.chain(route.upstream.and_then(|place| p.upstreams.get(place)));
    let Some(first) = upstreams.next().filter(|_| matches!(found.verb, Verb::Infer | Verb::Proxy)) else {
        return Ok(());
    };
    if !first.queue.is_backlogged() || curious.wait_secs.is_some() {
        return Ok(());
    }
    if route.models.iter().any(|model| p.models.get(model.index()).is_some_and(|model| model.release.is_some())) {
        return Ok(()); // Which of its upstreams it will be is chosen later.
    }
    let caller = Caller { who, from, route: Some(route), until: until(facts, Some(route), plan.timeout) };
    // A lower bound: what it costs beyond that is in its body.
    let who = caller.applies(p, 0, plan.declared.unwrap_or(0));
    let Err(why) = first.queue.foresee(&who, now) else { return Ok(()) };
    if upstreams.all(|other| other.name == first.name || other.queue.foresee(&who, now).is_err()) {
        return Err(log.stop(Stage::Queue, refusal(why).into()));
    }
    Ok(())
}

/// What an exchange asks of the queue once its cost is known.
#[must_use]
pub fn ask(p: &Policy, ex: &Exchange, estimate: &Estimate, bytes: u64, now: Tick) -> Ask {
    let Exchange { facts, seen, .. } = ex;
    let anonymous = Identity::anonymous();
    let caller = Caller {
        who: seen.who.as_ref().unwrap_or(&anonymous),
        from: seen.from.unwrap_or(facts.peer.ip),
        route: seen.route.as_deref(),
        until: deadline(ex),
    };
    let cost = if estimate.exempt { 0 } else { estimate.cost.0 };
    let patience = seen.curious.wait_secs.map(Duration::from_secs);
    Ask { who: caller.applies(p, cost, bytes), alone: None, patience, at: now }
}

/// What a call asks that is sent a second time for the gateway's own sake.
#[must_use]
pub fn mirrored(estimate: &Estimate, deadline: Tick, now: Tick) -> Ask {
    let deadline = tollgate_limit::Tick(deadline.0);
    let (cost, priority) = (estimate.cost.0, Priority::Batch);
    Ask {
        who: Applicant { tenant: 0, weight: 1, key: 0, priority, cost, bytes: 0, deadline },
        alone: None,
        patience: None,
        at: now,
    }
}

/// Writes down that somebody got no place, and says what they are told.
pub fn away(w: &Worker, ex: &mut Exchange, away: TurnedAway) -> Denial {
    w.tick(&ex.facts, &mut ex.log);
    ex.seen.curious.position = away.position;
    ex.log.stop(Stage::Queue, spread(away.refusal, w.random()).into())
}

/// When the route of an exchange wants it to be over, or its caller, whichever comes first.
#[must_use]
pub fn deadline(ex: &Exchange) -> Tick {
    until(&ex.facts, ex.seen.route.as_deref(), ex.seen.timeout)
}

fn until(facts: &Facts, route: Option<&Route>, asked: Option<Duration>) -> Tick {
    let timeout = Duration::from_millis(route.map_or(0, |route| route.timeout_ms));
    facts.started.after(asked.map_or(timeout, |asked| asked.min(timeout)))
}

/// Who stands before the queue.
struct Caller<'a> {
    who: &'a Identity,
    from: IpAddr,
    route: Option<&'a Route>,
    until: Tick,
}

impl Caller<'_> {
    fn applies(&self, p: &Policy, cost: u64, bytes: u64) -> Applicant {
        let who = self.who;
        let share = p.share_of(who);
        Applicant {
            tenant: who.tenant_id,
            weight: share.weight,
            // Whoever has no key is told apart by where they come from.
            key: if who.is_anonymous() { place(self.from) } else { who.principal_id },
            priority: lower(self.route.and_then(|route| route.priority), share.priority),
            cost,
            bytes,
            deadline: tollgate_limit::Tick(self.until.0),
        }
    }
}

/// The lower of two opinions: an urgent route does not lift a tenant that nobody waits for, nor the other way round.
fn lower(route: Option<Priority>, tenant: Option<Priority>) -> Priority {
    // They are ordered from critical to batch.
    route.max(tenant).unwrap_or_default()
}

/// A number for an address: the /64 of IPv6, which one customer has.
fn place(from: IpAddr) -> u64 {
    match from {
        IpAddr::V4(from) => u64::from(from.to_bits()),
        IpAddr::V6(from) => {
            from.to_ipv4_mapped().map_or((from.to_bits() >> 64) as u64, |from| u64::from(from.to_bits()))
        }
    }
}

/// Up to a quarter more, so that those who were refused together do not come back together.
#[must_use]
pub fn spread(mut refusal: Refusal, random: u64) -> Refusal {
    let share = (random >> 32) as f64 / f64::from(u32::MAX) / 4.0;
    refusal.retry_after = refusal.retry_after.map(|wait| wait + wait.mul_f64(share));
    refusal
}

/// What a head says of waiting: `Prefer: wait=N` (RFC 7240, 4.3). What cannot be read is no preference.
#[must_use]
pub fn curious(headers: &HeaderMap) -> Curious {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let preferences = preferences.flat_map(|value| value.split([',', ';']));
    let waits = preferences.filter_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("wait");
        let digits = value.trim().trim_matches('"');
        let sound = named && (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| sound)
    });
    // The first counts (RFC 7240, 2).
    Curious { wait_secs: waits.map(|secs| secs.min(LONGEST)).next(), position: 0 }
}

/// Tells those who asked which one they were in line.
pub fn tell(seen: &Seen, headers: &mut HeaderMap) {
    let Some(secs) = seen.curious.wait_secs else { return };
    headers.insert(POSITION, HeaderValue::from(seen.curious.position));
    if let Ok(applied) = HeaderValue::try_from(format!("wait={secs}")) {
        headers.append(APPLIED, applied);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_to_wait_is_read_and_anything_else_is_none() {
        let read = |fields: &[&str]| {
            let mut headers = HeaderMap::new();
            fields.iter().for_each(|field| {
                headers.append("prefer", HeaderValue::from_str(field).expect("a value"));
            });
            curious(&headers).wait_secs
        };
        assert_eq!(read(&["wait=5"]), Some(5));
        assert_eq!(read(&["respond-async, Wait = \"10\""]), Some(10));
        assert_eq!(read(&["respond-async; wait=3"]), Some(3));
        assert_eq!(read(&["wait=7, wait=8"]), Some(7));
        assert_eq!(read(&["handling=lenient", "wait=9"]), Some(9));
        assert_eq!(read(&["wait=999999999"]), Some(LONGEST));
        for nothing in ["", "wait", "wait=", "wait=-1", "wait=1.5", "wait=9999999999", "waiting=5", "wait=five"] {
            assert_eq!(read(&[nothing]), None, "{nothing}");
        }
    }

    #[test]
    fn the_lower_priority_counts_where_two_are_named() {
        use Priority::{Batch, Critical, High, Normal};
        assert_eq!(lower(None, None), Normal);
        assert_eq!(lower(Some(Critical), None), Critical);
        assert_eq!(lower(None, Some(High)), High);
        assert_eq!(lower(Some(Critical), Some(Batch)), Batch);
        assert_eq!(lower(Some(Normal), Some(Critical)), Normal);
    }

    #[test]
    fn those_who_were_refused_together_come_back_apart() {
        use tollgate_core::ruling::Code;
        let wait = |random| {
            let refusal = Refusal::new(Code::Overloaded).retry_after(Duration::from_secs(8));
            spread(refusal, random).retry_after.expect("a wait").as_secs_f64()
        };
        assert!((wait(0) - 8.0).abs() < 1e-6);
        assert!((wait(u64::MAX) - 10.0).abs() < 1e-6);
    }

    #[test]
    fn addresses_of_one_network_are_one_place() {
        let number = |text: &str| place(text.parse().expect("an address"));
        assert_eq!(number("2001:db8::1"), number("2001:db8::ffff"));
        assert_ne!(number("2001:db8::1"), number("2001:db8:0:1::1"));
        assert_eq!(number("192.0.2.1"), number("::ffff:192.0.2.1"));
        assert_ne!(number("192.0.2.1"), number("192.0.2.2"));
    }
}
