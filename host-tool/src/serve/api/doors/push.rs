//! A dataset's people to a door: packed, signed, sent, on trial.

use std::{path::PathBuf, time::Duration};

use facelatch_models::{embedding::SpaceId, plans::PlanCache, zoo::Zoo};
use serde_json::{Value, json};

use crate::{
    client::{Client, Trial},
    cmd::pack::{Gathered, What, gather},
    doors::Door,
    home::unix_ms_now,
    sealed::write_atomic,
    serve::{
        jobs::{Ended, Job},
        names::UserId,
        problem::Problem,
        state::App,
    },
};

/// Longest wait for the end of a trial.
const TRIAL: Duration = Duration::from_secs(120);

/// Pushes, and says how the trial ended.
///
/// # Errors
/// Nobody enrolled, no current classifier, a door that does not answer or refuses.
pub(super) fn push(
    app: &App,
    door: &Door,
    user: &UserId,
    with_networks: bool,
    replace: bool,
    job: &Job,
) -> Result<Value, Ended> {
    job.phase("packing", 0);
    job.step(0)?;
    let what = What {
        with_networks,
        replace,
        // All datasets' people pass by the workspace's policy.
        policy: policy(app)?,
        ..What::default()
    };
    let zoo = |space: Option<&SpaceId>| {
        let zoo = Zoo::open(app.zoo.dir())?.with_plans(PlanCache::user());
        Ok(match space {
            Some(space) => zoo.with_space(space)?,
            None => zoo,
        })
    };
    let gathered = gather(&app.datasets.recogniser(user), &what, zoo)?;
    let (mut client, _) = app.doors.open(&door.key.to_string())?;
    keeps_policy(&gathered, &mut client)?;
    // A door that keeps its own clock says no, which is no reason not to push.
    if let Err(error) = client.time_sync(unix_ms_now())
        && error.refusal().is_none()
    {
        return Err(error.into());
    }
    let highest = client.update_status()?.highest_counter;
    let scratch = tempfile::tempdir().map_err(|error| Problem::internal(&error))?;
    let path = scratch.path().join("bundle.flb");
    write_atomic(&path, &gathered.sign(&app.home, highest)?.0)?;
    job.phase(
        "sending",
        std::fs::metadata(&path).map_or(0, |meta| meta.len()),
    );
    // A push that is cut off goes on with the next: so it need not be cancelled in between.
    let pushed = client.push(&path, |there, _| drop(job.step(there)))?;
    job.phase("on trial", 0);
    let trial = client.await_trial(pushed.id, TRIAL, |_| {})?;
    let (trial, why) = match trial {
        Trial::Confirmed => ("confirmed", None),
        Trial::Pending { .. } => ("pending", None),
        Trial::RolledBack(back) => (
            "rolled-back",
            Some(format!("{}: {}", back.reason.as_str(), back.text)),
        ),
    };
    app.journal.add("", "push", &door.name, trial)?;
    Ok(json!({
        "device": client.device(),
        "counter": pushed.id.counter,
        "sha256": pushed.id.digest.to_string(),
        "bytes_sent": pushed.sent,
        "trial": trial,
        "why": why,
    }))
}

fn policy(app: &App) -> Result<Option<PathBuf>, Problem> {
    let there = app.home.policy()?.is_some();
    Ok(there.then(|| app.home.policy_path()))
}

/// A door's policy is not dropped by a workspace that only has none.
fn keeps_policy(gathered: &Gathered, client: &mut Client) -> Result<(), Problem> {
    if gathered.leaves_policy_open() && client.policy_status()?.policy.is_some() {
        return Err(Problem::conflict(
            "the door obeys a policy, and this workspace has none: put policy.toml there, or drop the door's with \
             `facelatch push --without-policy`",
        ));
    }
    Ok(())
}
