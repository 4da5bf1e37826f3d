//! Provisioning from end to end over real sockets and pseudo-terminals: the host's client against the device's link and
//! bundle store. Only the device's loop is a stand-in.

mod stand_in;

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use facelatch_host::{
    client::{Blame, Client, Error},
    connect::Target,
};
use facelatch_protocol::{
    Digest, DisplayName, DoorState, EventKind, PersonId, Refusal, SpaceName, Template,
};

use self::stand_in::{Device, File, Wire, bundle, id};

/// Longer than anything here takes, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

fn client(target: &Target) -> Client {
    Client::connect(target, PATIENCE).unwrap()
}

fn target(address: SocketAddr) -> Target {
    address.to_string().parse().unwrap()
}

fn template(first: f32) -> Template {
    Template {
        space: SpaceName::parse("test-2").unwrap(),
        values: [first, (1.0 - first * first).sqrt()].into_iter().collect(),
    }
}

/// Every file of a device's data, by name.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

/// Everything a host can ask, once.
fn provision(target: &Target, bundle: &File) -> (Digest, u64) {
    let mut door = client(target);
    assert_eq!(door.device(), "stand-in");
    assert_eq!(door.door_state().unwrap(), DoorState::Locked);

    for n in 0..40 {
        let name = DisplayName::parse(&format!("Person {n}")).unwrap();
        door.person_add(id(n), name).unwrap();
    }
    door.template_add(id(3), template(0.6)).unwrap();
    door.template_add(id(3), template(0.8)).unwrap();
    door.template_add(id(7), template(0.0)).unwrap();
    let unknown = door.template_add(id(99), template(0.6)).unwrap_err();
    assert_eq!(unknown.refusal(), Some(&Refusal::UnknownPerson));
    assert_eq!(unknown.blame(), Blame::Device);
    door.person_remove(id(7)).unwrap();

    let people = door.people().unwrap();
    let ids: Vec<PersonId> = people.iter().map(|person| person.person.clone()).collect();
    assert_eq!(ids, (0..40).filter(|&n| n != 7).map(id).collect::<Vec<_>>());
    assert_eq!((people[3].templates, &*people[3].name), (2, "Person 3"));
    let pulled: Vec<_> = door.pull().map(Result::unwrap).collect();
    let keys: Vec<_> = pulled
        .iter()
        .map(|r| (r.key.person.clone(), r.key.index))
        .collect();
    assert_eq!(keys, [(id(3), 0), (id(3), 1)]);
    assert_eq!(pulled[1].template, template(0.8));

    assert_eq!(
        door.time_sync(1_700_000_000_000).unwrap(),
        (1_700_000_000_000, 5)
    );

    let mut told = Vec::new();
    let pushed = door
        .push(&bundle.path, |done, size| told.push((done, size)))
        .unwrap();
    assert_eq!((pushed.id.digest, pushed.resumed_at), (bundle.digest, 0));
    assert_eq!(told.first(), Some(&(0, bundle.size())));
    assert_eq!(told.last(), Some(&(bundle.size(), bundle.size())));
    assert!(told.is_sorted());
    let again = door.push(&bundle.path, |_, _| ()).unwrap();
    assert_eq!((again.id, again.resumed_at), (pushed.id, bundle.size()));

    let status = door.status().unwrap();
    assert_eq!((status.people, status.templates), (39, 2));
    assert_eq!(status.active, Some(pushed.id));
    door.goodbye().unwrap();

    let events = client(target).events(1).unwrap();
    let updates = events
        .map(Result::unwrap)
        .filter(|event| matches!(event.kind, EventKind::Update { .. }));
    assert_eq!(updates.take(1).count(), 1);
    (status.state, status.active.unwrap().counter)
}

#[test]
fn tcp_and_serial_leave_the_same_state_byte_for_byte() {
    let file = bundle(1, 30_000);
    let over_tcp = Device::start(None);
    let wire = Wire::new(|_, bytes| bytes);
    let over_serial = Device::start(Some(&wire));
    let states = [
        provision(&over_tcp.target(), &file),
        provision(&wire.host_end(), &file),
    ];
    assert_eq!(states[0], states[1]);
    let stored = contents(over_tcp.folder());
    assert_eq!(stored, contents(over_serial.folder()));
    assert_eq!(stored[0].1, fs::read(&file.path).unwrap());
}

#[test]
fn a_noisy_serial_line_slows_a_push_down_and_no_more() {
    let file = bundle(1, 40_000);
    // One wrong bit in every 5,003 bytes, in both directions.
    let wire = Wire::new(|passed, mut bytes| {
        for (at, byte) in bytes.iter_mut().enumerate() {
            let at = passed + at;
            if at % 5_003 == 5_002 {
                *byte ^= 1 << (at / 5_003 % 8);
            }
        }
        bytes
    });
    let device = Device::start(Some(&wire));
    let mut door = client(&wire.host_end());
    door.set_patience(Duration::from_secs(2));
    let pushed = door.push(&file.path, |_, _| ()).unwrap();
    assert_eq!(pushed.id.digest, file.digest);
    assert!(
        wire.passed() > 45_000,
        "{} bytes passed: nothing was sent twice",
        wire.passed()
    );
    assert_eq!(
        contents(device.folder())[0].1,
        fs::read(&file.path).unwrap()
    );
}

#[test]
fn the_next_host_on_a_serial_line_is_not_confused_by_the_last_one() {
    let file = bundle(1, 500);
    let wire = Wire::new(|_, bytes| bytes);
    let device = Device::start(Some(&wire));
    let mut direct = client(&device.target());
    for n in 0..5 {
        // A listener that dies leaves a line full of events, and part of one may be read before it goes.
        let mut events = client(&wire.host_end()).events(1).unwrap();
        for _ in 0..8 {
            direct.push(&bundle(2, 100 + n).path, |_, _| ()).unwrap();
            direct.push(&file.path, |_, _| ()).unwrap();
        }
        assert!(events.next().unwrap().is_ok());
        drop(events);
        direct.push(&bundle(3, 100 + n).path, |_, _| ()).unwrap();
        assert_eq!(
            client(&wire.host_end()).door_state().unwrap(),
            DoorState::Locked
        );
    }
}

#[test]
fn half_a_frame_of_the_last_host_does_not_swallow_the_hello() {
    let wire = Wire::new(|_, bytes| bytes);
    let _device = Device::start(Some(&wire));
    let mut last = wire.host_end().open(PATIENCE).unwrap();
    last.write_all(&[9, 1, 2, 3]).unwrap();
    drop(last);
    // Sooner than a second hello would be sent, or than the device forgets half a frame.
    let soon = Duration::from_millis(800);
    assert!(Client::connect(&wire.host_end(), soon).is_ok());
}

#[test]
fn a_push_cut_off_anywhere_leaves_the_old_bundle_and_goes_on() {
    let (old, new) = (bundle(1, 500), bundle(2, 5_000));
    let device = Device::start(None);
    let mut direct = client(&device.target());
    direct.push(&new.path, |_, _| ()).unwrap();
    direct.push(&old.path, |_, _| ()).unwrap();
    // How many bytes go each way in a whole push.
    let whole = Relay::new(&device, usize::MAX, usize::MAX);
    client(&whole.target()).push(&new.path, |_, _| ()).unwrap();
    let (there, back) = whole.passed();
    assert!(there > 5_000 && back > 100, "{there} {back}");
    direct.push(&old.path, |_, _| ()).unwrap();

    // The coding of a frame differs by a few bytes with its number, so stop short of the very end.
    let every = |total: usize, step: usize| {
        let near_an_end = move |n: &usize| *n < 60 || *n + 60 > total;
        (0..total - 15).filter(move |n| near_an_end(n) || n % step == 0)
    };
    let requests = every(there, 61).map(|n| (n, usize::MAX));
    let answers = every(back, 7).map(|n| (usize::MAX, n));
    let (mut resumed, mut switched) = (0, 0);
    for (there, back) in requests.chain(answers) {
        let case = format!("cut after {there} bytes there, {back} back");
        let relay = Relay::new(&device, there, back);
        let cut = Client::connect(&relay.target(), PATIENCE)
            .and_then(|mut door| door.push(&new.path, |_, _| ()));
        let error = cut.expect_err(&case);
        assert_eq!(error.blame(), Blame::Machine, "{case}: {error}");
        relay.passed();

        let stands = direct.bundle_status().unwrap();
        let active = stands.active.unwrap().digest;
        assert!(active == old.digest || active == new.digest, "{case}");
        assert_eq!(
            stored(&device, active),
            fs::read(path_of(active, &[&old, &new])).unwrap()
        );
        if active == new.digest {
            // Only the answer to the commit was lost.
            assert_eq!(stands.staging, None, "{case}");
            switched += 1;
            direct.push(&old.path, |_, _| ()).unwrap();
        } else if stands.staging.is_some_and(|staging| staging.received > 0) && there % 3 == 0 {
            let again = direct.push(&new.path, |_, _| ()).unwrap();
            assert!(again.resumed_at > 0, "{case}");
            assert_eq!(
                stored(&device, new.digest),
                fs::read(&new.path).unwrap(),
                "{case}"
            );
            resumed += 1;
            direct.push(&old.path, |_, _| ()).unwrap();
        } else {
            direct.bundle_abort().unwrap();
        }
    }
    assert!(
        resumed > 10,
        "{resumed} pushes went on where they had stopped"
    );
    assert!(switched > 5, "{switched} cuts came after the switch");
}

fn path_of<'f>(digest: Digest, files: &[&'f File]) -> &'f Path {
    &files
        .iter()
        .find(|file| file.digest == digest)
        .unwrap()
        .path
}

fn stored(device: &Device, digest: Digest) -> Vec<u8> {
    fs::read(device.folder().join(format!("{digest}.flb"))).unwrap()
}

#[test]
fn a_push_resumes_after_the_daemon_was_restarted() {
    let file = bundle(1, 100_000);
    let device = Device::start(None);
    let relay = Relay::new(&device, 50_000, usize::MAX);
    let mut door = client(&relay.target());
    assert!(door.push(&file.path, |_, _| ()).is_err());
    let device = device.restart();
    let pushed = client(&device.target())
        .push(&file.path, |_, _| ())
        .unwrap();
    assert!(
        pushed.resumed_at > 0 && pushed.resumed_at < 50_000,
        "{pushed:?}"
    );
    assert_eq!(stored(&device, file.digest), fs::read(&file.path).unwrap());
}

#[test]
fn a_file_that_is_no_bundle_is_never_sent() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(&bundle(1, 500).path).unwrap();
    let mut cut = good.clone();
    cut.pop();
    let cases: [(&str, Option<&[u8]>, &str); 5] = [
        ("missing", None, "could not read"),
        ("empty", Some(b""), "not a facelatch bundle"),
        (
            "photo",
            Some(b"\xff\xd8\xff\xe0 JFIF and more"),
            "not a facelatch bundle",
        ),
        ("cut", Some(&cut), "do not add up"),
        ("header only", Some(&good[..20]), "header is damaged"),
    ];
    let device = Device::start(None);
    let mut door = client(&device.target());
    for (name, bytes, message) in cases {
        let path = folder.path().join(name);
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).unwrap();
        }
        let error = door.push(&path, |_, _| panic!("{name}: sent")).unwrap_err();
        assert_eq!(error.blame(), Blame::Operator, "{name}");
        let text = error.to_string();
        assert!(text.contains(message) && text.contains(name), "{text}");
    }
    assert_eq!(door.bundle_status().unwrap().staging, None);
}

#[test]
fn what_the_device_refuses_is_said_in_its_words() {
    let device = Device::start(None);
    let mut door = client(&device.target());
    let error = door.push(&bundle(1, 2 << 20).path, |_, _| ()).unwrap_err();
    assert_eq!(error.blame(), Blame::Device);
    let limit = stand_in::MAX_BUNDLE_BYTES;
    assert_eq!(error.refusal(), Some(&Refusal::BundleTooLarge { limit }));
    assert!(
        error
            .to_string()
            .contains(&format!("at most {limit} bytes")),
        "{error}"
    );

    let sessions: Vec<_> = (1..stand_in::MAX_SESSIONS)
        .map(|_| client(&device.target()))
        .collect();
    let error = Client::connect(&device.target(), PATIENCE).err().unwrap();
    assert_eq!(error.refusal(), Some(&Refusal::Busy));
    drop(sessions);
}

#[test]
fn peers_that_are_dead_or_no_doors_are_told_apart() {
    let short = Duration::from_millis(300);
    let fails = |target: &Target| Client::connect(target, short).err().unwrap();

    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = fails(&target(unused));
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&unused.to_string()), "{error}");

    let error = fails(&"/dev/facelatch-no-such-port".parse().unwrap());
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = fails(&target(silent.local_addr().unwrap()));
    assert!(
        matches!(error, Error::Silent { after, .. } if after == short),
        "{error}"
    );

    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let web_address = web.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = web.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n\0")
            .unwrap();
        stream.read_to_end(&mut Vec::new()).ok();
    });
    let error = fails(&target(web_address));
    assert!(matches!(error, Error::Garbled { .. }), "{error}");

    let wire = Wire::new(|_, bytes| bytes);
    let error = fails(&wire.host_end());
    assert!(matches!(error, Error::Silent { .. }), "{error}");
    assert_eq!(error.blame(), Blame::Machine);
}

#[test]
fn a_device_that_dies_during_a_session_is_noticed() {
    let device = Device::start(None);
    let mut door = client(&device.target());
    let mut events = client(&device.target()).events(0).unwrap();
    drop(device);
    let error = door.status().unwrap_err();
    assert_eq!(error.blame(), Blame::Machine, "{error}");
    // The loop's end may be told first.
    assert!(events.next().unwrap().is_err());
    assert!(events.next().is_none());
}

/// Passes one connection on to a device, and cuts the host off after so many bytes in either direction.
struct Relay {
    address: SocketAddr,
    thread: thread::JoinHandle<(usize, usize)>,
}

impl Relay {
    fn new(device: &Device, there: usize, back: usize) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let onward = device.address();
        let thread = thread::spawn(move || {
            let (host, _) = listener.accept().unwrap();
            let device = TcpStream::connect(onward).unwrap();
            host.set_nodelay(true).unwrap();
            device.set_nodelay(true).unwrap();
            thread::scope(|scope| {
                let answers = scope.spawn(|| {
                    let passed = pass(&device, &host, back);
                    host.shutdown(Shutdown::Both).ok();
                    // The device has done all it was asked when it closes.
                    io::copy(&mut &device, &mut io::sink()).ok();
                    passed
                });
                let there = pass(&host, &device, there);
                host.shutdown(Shutdown::Both).ok();
                device.shutdown(Shutdown::Write).ok();
                (there, answers.join().unwrap())
            })
        });
        Relay { address, thread }
    }

    fn target(&self) -> Target {
        target(self.address)
    }

    /// Waits until the device has closed; how many bytes passed there and back.
    fn passed(self) -> (usize, usize) {
        self.thread.join().unwrap()
    }
}

/// Copies at most `limit` bytes, or until either side closes.
fn pass(mut from: &TcpStream, mut to: &TcpStream, limit: usize) -> usize {
    let mut passed = 0;
    let mut buffer = [0; 1024];
    while passed < limit {
        let room = buffer.len().min(limit - passed);
        match from.read(&mut buffer[..room]) {
            Ok(0) | Err(_) => break,
            Ok(len) if to.write_all(&buffer[..len]).is_ok() => passed += len,
            Ok(_) => break,
        }
    }
    passed
}
