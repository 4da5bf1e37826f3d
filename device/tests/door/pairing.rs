//! Pairing with a whole door: the window at the first start, the code, roles, revoking, and what is put on record.

use facelatch_device::audit::What;
use facelatch_protocol::{
    DisplayName, PairingCode, Refusal, Request, Response, Role, TrustedKeys,
    session::{Order, PairRequest, public_key},
};

use crate::{
    far_end::{
        bundles::{sign, signers, trusted},
        connect,
    },
    host::{ADMIN, Host},
    stage::Stage,
};

const NEWCOMER: [u8; 32] = [8; 32];

fn wants(role: Role) -> PairRequest {
    PairRequest {
        name: DisplayName::parse("laptop").unwrap(),
        role,
        keys: Some(trusted()),
    }
}

#[test]
fn a_new_door_pairs_with_whoever_knows_its_code_and_closes_after_wrong_ones() {
    let stage = Stage::unpaired();
    let device = stage.start();
    let address = device.tcp_address().unwrap();
    let code = device.pairing_code().expect("open at the first start");
    let wrong = PairingCode::new([0; 10]);
    for tries_left in [2, 1] {
        let refused = connect(address).pair(&NEWCOMER, &wrong, &wants(Role::Admin), Order::Next);
        assert_eq!(refused, Err(Refusal::WrongCode { tries_left }));
    }
    let (door, role) = connect(address)
        .pair(&NEWCOMER, &code, &wants(Role::Admin), Order::Next)
        .unwrap();
    assert_eq!((door, role), (device.public_key(), Role::Admin));
    assert_eq!(device.pairing_code(), None, "used up");
    let again = connect(address).pair(&ADMIN, &code, &wants(Role::Admin), Order::Next);
    assert_eq!(again, Err(Refusal::PairingClosed));
    device.stop();
    device.join().unwrap();

    let records: Vec<What> = stage.entries().into_iter().map(|e| e.what).collect();
    let paired = What::HostPaired {
        host: public_key(&NEWCOMER),
        name: DisplayName::parse("laptop").unwrap(),
        role: Role::Admin,
    };
    let wrong = |tries_left| What::WrongCode { tries_left };
    for what in [
        What::PairingOpened { role: Role::Admin },
        wrong(2),
        wrong(1),
        paired,
    ] {
        assert!(records.contains(&what), "{what:?} in {records:?}");
    }

    // Paired, and remembered: no window at the next start.
    let device = stage.start();
    assert_eq!(device.pairing_code(), None);
    let mut host = connect(device.tcp_address().unwrap());
    let welcome = host.open(&NEWCOMER, &device.public_key(), Order::Next);
    assert_eq!(welcome.unwrap().role, Role::Admin);
}

#[test]
fn an_admin_invites_an_operator_who_may_do_less_and_is_revoked_at_once() {
    let stage = Stage::enrolled();
    let device = stage.start();
    let address = device.tcp_address().unwrap();
    let mut admin = Host::connect(&device);
    let opened = admin.ask(Request::PairingOpen {
        role: Role::Operator,
    });
    let Response::Pairing { code, .. } = opened else {
        panic!("{opened:?}");
    };
    let code = PairingCode::parse(&code).unwrap();
    let mut operator = connect(address);
    let paired = operator.pair(&NEWCOMER, &code, &wants(Role::Admin), Order::Next);
    assert_eq!(
        paired.unwrap().1,
        Role::Operator,
        "no more than the window gives"
    );

    let name = DisplayName::parse("Eve").unwrap();
    let person = crate::stage::id("eve");
    assert_eq!(
        operator.ask(Request::PersonAdd { person, name }),
        Response::Done
    );
    let host = public_key(&NEWCOMER);
    let admins_only = [
        Request::TimeSync { unix_ms: 1 },
        Request::Hosts { after: None },
        Request::HostRevoke { host },
        Request::PairingOpen { role: Role::Admin },
        Request::PairingClose,
        Request::BundleAbort,
        Request::BundleOffer([1, 2, 3].into_iter().collect()),
    ];
    let refused = Response::Refused(Refusal::Role {
        needed: Role::Admin,
    });
    for request in admins_only {
        assert_eq!(operator.ask(request.clone()), refused, "{request:?}");
    }

    let last = Request::HostRevoke {
        host: public_key(&ADMIN),
    };
    assert_eq!(admin.ask(last), Response::Refused(Refusal::LastAdmin));
    assert_eq!(admin.ask(Request::HostRevoke { host }), Response::Done);
    assert_eq!(operator.reply().body, Response::Refused(Refusal::NotPaired));
    operator.expect_end();
    let refused = connect(address).open(&NEWCOMER, &device.public_key(), Order::Next);
    assert_eq!(refused, Err(Refusal::NotPaired));
    let Response::Hosts(page) = admin.ask(Request::Hosts { after: None }) else {
        panic!("no hosts");
    };
    assert_eq!(page.hosts.len(), 1);
}

#[test]
fn signing_keys_are_replaced_by_one_of_them() {
    let stage = Stage::empty();
    let device = stage.start();
    let mut admin = Host::connect(&device);
    let third = facelatch_protocol::SigningKey::parse(&signers()[2].pk.to_base64()).unwrap();
    let keys = TrustedKeys {
        serial: 2,
        keys: [trusted().keys[1], third],
    };
    let replace = |signer, keys: TrustedKeys| Request::KeysReplace {
        keys,
        signature: sign(signer, keys.statement().as_bytes()).bytes().collect(),
    };
    let refused = Response::Refused(Refusal::Keys);
    assert_eq!(admin.ask(replace(2, keys)), refused);
    assert_eq!(admin.ask(replace(0, keys)), Response::Done);
    assert_eq!(admin.update().keys_serial, Some(2));
    assert_eq!(admin.ask(replace(1, keys)), Response::Done, "it has them");
    let others = TrustedKeys {
        keys: [trusted().keys[0], third],
        ..keys
    };
    assert_eq!(admin.ask(replace(1, others)), refused, "not newer");
}
