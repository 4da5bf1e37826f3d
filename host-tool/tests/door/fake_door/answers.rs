//! What the fake door does with a request.

use facelatch_protocol::{
    BundleFault, BundleProgress, Chunk, Digest, DoorState, GalleryRecord, HOSTS_PER_PAGE,
    HostsPage, PEOPLE_PER_PAGE, PeoplePage, Person, PolicyStatus, PublicKey, Refusal, Request,
    Response, Role, RollbackReason, RolledBack, Staging, Status, TemplateKey, Text, Trial,
    UpdateStatus,
    audit::{AuditHead, AuditPage, Chain, What},
    bundle::Head,
};

use super::{State, code};

/// Frames a bundle is on trial: each question about it counts as one.
const TRIAL_FRAMES: u32 = 2;

/// The answer; `None` if the connection ends instead.
pub(super) fn answer(state: &mut State, host: PublicKey, request: &Request) -> Option<Response> {
    let Some(role) = state.hosts.get(&host).map(|host| host.role) else {
        return Some(Response::Refused(Refusal::NotPaired));
    };
    if matches!(request, Request::PartChunk { .. }) {
        if state.chunks_left == 0 {
            return None;
        }
        state.chunks_left -= 1;
    }
    let answered = match request {
        Request::BundleOffer(_)
        | Request::PartChunk { .. }
        | Request::BundleCommit { .. }
        | Request::UpdateStatus
        | Request::KeysReplace { .. }
        | Request::Hosts { .. }
        | Request::HostRevoke { .. }
        | Request::PairingOpen { .. }
        | Request::PairingClose
        | Request::TimeSync { .. }
        | Request::Lockdown { .. }
            if role < Role::Admin =>
        {
            Err(Refusal::Role {
                needed: Role::Admin,
            })
        }
        Request::BundleOffer(_) | Request::PartChunk { .. } | Request::BundleCommit { .. } => {
            bundle(state, request)
        }
        request => other(state, host, request),
    };
    Some(answered.unwrap_or_else(Response::Refused))
}

fn other(state: &mut State, asker: PublicKey, request: &Request) -> Result<Response, Refusal> {
    match request {
        Request::Status => return Ok(Response::Status(status(state))),
        Request::DoorState => return Ok(Response::Door(DoorState::Locked)),
        Request::Unlock if state.lockdown => return Err(Refusal::LockedDown),
        Request::Unlock => {
            return Ok(Response::Door(DoorState::Unlocked {
                until_unix_ms: 1_700_000_000_000,
            }));
        }
        Request::Lockdown { on } => {
            state.lockdown = *on;
            return Ok(Response::Door(match on {
                true => DoorState::LockedDown,
                false => DoorState::Locked,
            }));
        }
        Request::TimeSync { unix_ms } => {
            let (unix_ms, moved_ms) = (*unix_ms, 5);
            return Ok(Response::Time { unix_ms, moved_ms });
        }
        Request::People { after } => {
            let rest = state
                .people
                .iter()
                .filter(|(id, _)| Some(*id) > after.as_ref());
            let people = rest
                .take(PEOPLE_PER_PAGE)
                .map(|(id, (name, records))| Person {
                    person: id.clone(),
                    name: name.clone(),
                    created_unix_ms: 5,
                    templates: records.len() as u32,
                });
            let people = people.collect();
            return Ok(Response::People(PeoplePage { people }));
        }
        Request::PersonAdd { person, name } => {
            let entry = state.people.entry(person.clone());
            entry.or_insert_with(|| (name.clone(), Vec::new())).0 = name.clone();
        }
        Request::PersonRemove { person } => {
            state.people.remove(person).ok_or(Refusal::UnknownPerson)?;
        }
        Request::TemplateAdd { person, template } => {
            let (name, records) = state.people.get_mut(person).ok_or(Refusal::UnknownPerson)?;
            records.push(GalleryRecord {
                key: TemplateKey {
                    person: person.clone(),
                    index: records.len() as u32,
                },
                name: name.clone(),
                created_unix_ms: 5,
                template: template.clone(),
            });
        }
        Request::GalleryPull { after } => {
            let mut all = state.people.values().flat_map(|(_, records)| records);
            let next = all.find(|record| Some(&record.key) > after.as_ref());
            return Ok(Response::Gallery(next.cloned()));
        }
        Request::BundleStatus => return Ok(Response::Bundle(progress(state))),
        Request::UpdateStatus => return Ok(Response::Update(update(state))),
        Request::Hosts { after } => {
            let rest = state.hosts.values().filter(|host| Some(host.key) > *after);
            let hosts = rest.take(HOSTS_PER_PAGE).cloned().collect();
            return Ok(Response::Hosts(HostsPage { hosts }));
        }
        Request::HostRevoke { host } if *host == asker => return Err(Refusal::LastAdmin),
        Request::HostRevoke { host } => {
            state.hosts.remove(host).ok_or(Refusal::UnknownHost)?;
        }
        Request::PairingOpen { .. } => {
            state.code = Some(code());
            return Ok(Response::Pairing {
                code: Text::cut(&code().to_string()),
                closes_unix_ms: 1_700_000_000_000,
            });
        }
        Request::PairingClose => state.code = None,
        Request::KeysReplace { keys, signature } => {
            let old = state.keys.ok_or(Refusal::Keys)?;
            if *keys == old {
                return Ok(Response::Done);
            }
            let signature = std::str::from_utf8(signature).map_err(|_| Refusal::Keys)?;
            let statement = keys.statement();
            facelatch_host::keys::verify(&old, statement.as_bytes(), signature)
                .map_err(|_| Refusal::Keys)?;
            if keys.serial <= old.serial {
                return Err(Refusal::Keys);
            }
            state.keys = Some(*keys);
        }
        Request::AuditRead { from_seq } => {
            return Ok(Response::Audit(audit_page(&state.audit, *from_seq)));
        }
        Request::EventsSubscribe { .. } | Request::Goodbye => {}
        Request::BundleAbort => {
            state.offered = None;
            return Ok(Response::Bundle(progress(state)));
        }
        Request::PersonRename { person, to, name } => {
            if person != to && state.people.contains_key(to) {
                return Err(Refusal::PersonExists);
            }
            let (_, mut records) = state.people.remove(person).ok_or(Refusal::UnknownPerson)?;
            for record in &mut records {
                record.key.person = to.clone();
                record.name = name.clone();
            }
            state.people.insert(to.clone(), (name.clone(), records));
        }
        Request::EnrollmentOpen { .. } if state.enrolling => return Err(Refusal::Enrolling),
        Request::EnrollmentOpen {
            person: Some(person),
            ..
        } if state.people.contains_key(person) => return Err(Refusal::PersonExists),
        Request::EnrollmentOpen { .. } => state.enrolling = true,
        Request::EnrollmentClose => state.enrolling = false,
        Request::LockoutClear => {}
        Request::PassedOut { person } => {
            state.people.get(person).ok_or(Refusal::UnknownPerson)?;
        }
        Request::PolicyStatus => {
            return Ok(Response::Policy(PolicyStatus {
                policy: Some(Digest([5; 32])),
                people: 2,
                clock: true,
                open: false,
                denials: 0,
                locked_until_unix_ms: None,
                inside: 0,
            }));
        }
        Request::Hello { .. }
        | Request::BundleBegin { .. }
        | Request::BundleChunk(_)
        | Request::BundleOffer(_)
        | Request::PartChunk { .. }
        | Request::BundleCommit { .. } => return Err(Refusal::Malformed),
    }
    Ok(Response::Done)
}

fn bundle(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    match request {
        Request::BundleOffer(head) => offer(state, head),
        Request::PartChunk { part, chunk } => take(state, *part, chunk),
        Request::BundleCommit { sha256 } => commit(state, *sha256),
        _ => Err(Refusal::Malformed),
    }
}

fn offer(state: &mut State, head: &[u8]) -> Result<Response, Refusal> {
    let head = Head::parse(head).map_err(Refusal::Bundle)?;
    let keys = state.keys.as_ref();
    let keys = keys.ok_or(Refusal::Bundle(BundleFault::UnknownSigner))?;
    facelatch_host::keys::verify(keys, head.manifest, head.signature).map_err(Refusal::Bundle)?;
    let (id, manifest) = head.manifest().map_err(Refusal::Bundle)?;
    let highest = state.highest;
    if id.counter <= highest && state.active != Some(id) {
        return Err(Refusal::Bundle(if id.counter == highest {
            BundleFault::Replayed { highest }
        } else {
            BundleFault::Downgrade { highest }
        }));
    }
    let limit = 1 << 20;
    if manifest.parts_len().is_none_or(|len| len > limit) {
        return Err(Refusal::BundleTooLarge { limit });
    }
    let held = manifest
        .parts
        .iter()
        .map(|part| state.parts.get(&part.sha256).map_or(0, Vec::len) as u64)
        .collect();
    state.offered = Some((id, manifest));
    Ok(Response::Parts(held))
}

fn take(state: &mut State, part: u8, chunk: &Chunk) -> Result<Response, Refusal> {
    let (_, manifest) = state.offered.as_ref().ok_or(Refusal::NotStaging)?;
    let part = manifest.parts.get(usize::from(part));
    let part = part.ok_or(Refusal::Malformed)?;
    let held = state.parts.entry(part.sha256).or_default();
    if chunk.offset != held.len() as u64 {
        return Err(Refusal::Offset {
            expected: held.len() as u64,
        });
    }
    held.extend_from_slice(&chunk.bytes);
    state.arrived += chunk.bytes.len();
    Ok(Response::Bundle(progress(state)))
}

fn commit(state: &mut State, sha256: Digest) -> Result<Response, Refusal> {
    if state.active.is_some_and(|active| active.digest == sha256) {
        return Ok(Response::Bundle(progress(state)));
    }
    let (id, _) = state.offered.take().ok_or(Refusal::NotStaging)?;
    if id.digest != sha256 {
        return Err(Refusal::OtherBundle);
    }
    state.highest = id.counter;
    state.trial = Some(Trial {
        id,
        frames_left: TRIAL_FRAMES,
    });
    Ok(Response::Bundle(progress(state)))
}

fn progress(state: &State) -> BundleProgress {
    BundleProgress {
        staging: state.offered.as_ref().map(|(id, manifest)| Staging {
            size: manifest.parts_len().unwrap(),
            sha256: id.digest,
            received: manifest
                .parts
                .iter()
                .map(|part| state.parts.get(&part.sha256).map_or(0, Vec::len) as u64)
                .sum(),
        }),
        active: state.active,
        previous: state.previous,
    }
}

fn update(state: &mut State) -> UpdateStatus {
    if let Some(trial) = &mut state.trial {
        if trial.frames_left > 0 {
            trial.frames_left -= 1;
        } else if state.healthy {
            (state.previous, state.active) = (state.active, Some(trial.id));
            state.trial = None;
        } else {
            state.rolled_back = Some(RolledBack {
                id: trial.id,
                unix_ms: 5,
                reason: RollbackReason::Networks,
                text: Text::cut("the embedder gave nonsense"),
            });
            state.trial = None;
        }
    }
    UpdateStatus {
        trial: state.trial,
        rolled_back: state.rolled_back.clone(),
        highest_counter: state.highest,
        keys_serial: state.keys.map(|keys| keys.serial),
    }
}

fn status(state: &State) -> Status {
    Status {
        device: Text::cut("fake"),
        board: Text::cut("sim"),
        software: Text::cut("0.1.0"),
        protocol: 2,
        space: None,
        people: state.people.len() as u32,
        templates: 0,
        active: state.active,
        previous: state.previous,
        state: Digest([3; 32]),
        uptime_ms: 1,
        unix_ms: 1_700_000_000_000,
        frames: 0,
        door: DoorState::Locked,
        last_fault: None,
        free_bytes: 0,
    }
}

/// Two records from a number on.
fn audit_page(audit: &[What], from_seq: u64) -> AuditPage {
    let from = from_seq.clamp(1, audit.len() as u64 + 1);
    let (mut chain, mut before, mut records) = (Chain::BEGINNING, Chain::BEGINNING, vec![]);
    for what in audit {
        if chain.next_seq == from {
            before = chain;
        }
        let wanted = (from..from + 2).contains(&chain.next_seq);
        let (record, next) = chain
            .continued(1_000 * chain.next_seq, what.clone())
            .unwrap();
        if wanted {
            records.extend_from_slice(&record);
        }
        chain = next;
    }
    if chain.next_seq == from {
        before = chain;
    }
    AuditPage {
        head: AuditHead {
            first_seq: 1,
            next_seq: chain.next_seq,
            last: chain.last,
        },
        first_seq: from,
        before: before.last,
        records: records.into_iter().collect(),
    }
}
