//! Setting up doors as an operator does: `facelatch` and `facelatchd` as processes, from the pairing code to the erasure of
//! a person. What single requests may and may not do is in the crates' own tests; here are the flows.

mod bundles;
mod erasure;
mod hosts;
mod people;
mod site;
