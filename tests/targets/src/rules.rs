//! A policy: text that whoever signs bundles writes by hand, and that decides who passes.

use facelatch_policy::{Clock, Policy};
use facelatch_protocol::PersonId;

/// Times that are asked about, milliseconds since 1970: its begin, days on which clocks change, a leap day, a far one.
const TIMES: [u64; 6] = [
    0,
    1_774_746_000_000,
    1_792_886_400_000,
    1_835_398_800_000,
    4_102_444_800_000,
    u64::MAX,
];

/// A policy's text. What is one must answer every question, and foretell its changes.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let policy = match Policy::parse(text) {
        Ok(policy) => policy,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(policy.people().count(), policy.people_count());
    let stranger = PersonId::parse("nobody-wrote-this").expect("a good id");
    for unix_ms in TIMES {
        let at = Clock::Known { unix_ms };
        for person in policy.people().chain([&stranger]).take(8) {
            let pass = policy.may_pass(person, at, "front");
            assert!(!(policy.is_denied(person) && pass.is_ok()));
            assert!(!(policy.is_denied(person) && policy.is_admin(person)));
        }
        let holds = |unix_ms| policy.holds_open(Clock::Known { unix_ms }, "front");
        if let Some(change) = policy.next_change(unix_ms, "front") {
            assert!(change > unix_ms);
            assert_eq!(holds(change - 1), holds(unix_ms));
            assert_ne!(holds(change), holds(unix_ms));
        }
    }
    assert!(!policy.holds_open(Clock::Unknown, "front"));
}
