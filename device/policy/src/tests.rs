//! Questions about people; times and what changes of clocks make of them are in `tests/calendar.rs`.

use super::*;

#[test]
fn the_template_is_a_policy_that_restricts_nobody() {
    let policy = Policy::parse(TEMPLATE).unwrap();
    let ada = PersonId::parse("ada").unwrap();
    let pass = policy.may_pass(&ada, Clock::Unknown, "front").unwrap();
    assert!(!pass.pin_needed && pass.visits.is_none());
    assert_eq!(policy.passback().mode, Passback::Off);
}
