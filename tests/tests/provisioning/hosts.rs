//! Pairing by code, what an operator may, and revoking.

use facelatch_tests::door::{Door, facelatchd};
use facelatch_tests::people::enrolled;
use facelatch_tests::workspace::Workspace;
use serde_json::Value;

use crate::site::{REFUSED, Site, WRONG_CALL, bytes, people, to};

#[test]
fn hosts_are_paired_by_code_work_by_their_role_and_are_revoked() {
    let site = Site::new();
    let door = Door::start(&mut facelatchd(&site.at("door")));
    let to = &*to(&door);
    let admin = Workspace::enrolled(&site.at("admin"));
    let operator = Workspace::new(&site.at("operator"));
    let code = door.pairing_code().to_string();
    let wrong = "0000-0000-0000-0000";
    let status = ["status", "--to", to];

    admin.refused(&status, WRONG_CALL, &["not paired", "facelatch pair"]);
    admin.refused(
        &["pair", "--to", to, "--code", wrong],
        REFUSED,
        &["code is wrong", "2 more tries"],
    );
    let paired = admin.told(
        &["pair", "--to", to, "--name", "office"],
        &code.to_lowercase(),
    );
    assert_eq!(paired.code, Some(0), "{}{}", paired.out, paired.err);
    assert!(paired.out.contains("as admin office"), "{}", paired.out);
    // The code worked once.
    operator.refused(
        &["pair", "--to", to, "--code", &code],
        REFUSED,
        &["window is closed", "facelatch hosts invite"],
    );
    let hosts = |host: &Workspace| -> Vec<(String, String, bool)> {
        let list = host.done(&["hosts", "list", "--to", to]);
        let text = |host: &Value, key: &str| host[key].as_str().expect("a text").to_owned();
        let row = |host: &Value| (text(host, "name"), text(host, "role"), host["this"] == true);
        let mut rows: Vec<_> = list["hosts"]
            .as_array()
            .expect("a list")
            .iter()
            .map(row)
            .collect();
        rows.sort();
        rows
    };
    let doors = admin.done(&["doors", "list"]);
    let name = doors["doors"][0]["name"].as_str().expect("a name");
    assert_eq!(admin.done(&["status", "--to", name])["device"], name);
    let office = ("office".to_owned(), "admin".to_owned(), true);
    assert_eq!(hosts(&admin), std::slice::from_ref(&office));

    let invite = ["hosts", "invite", "--role", "operator", "--to", to];
    let invited = admin.done(&invite);
    assert_eq!(invited["role"], "operator");
    let code = invited["code"].as_str().expect("a code");
    assert_eq!(
        door.pairing_code().to_string(),
        code,
        "the door shows it too"
    );
    // Asking for more than was offered gives what was offered.
    let paired = operator.done(&["pair", "--to", to, "--code", code, "--name", "reception"]);
    assert_eq!(paired["role"], "operator", "{paired}");
    let reception = ("reception".to_owned(), "operator".to_owned(), false);
    assert_eq!(hosts(&admin), [office.clone(), reception]);

    let added = operator.done(&["people", "add", "ada", "--to", to]);
    assert_eq!(added["person"], "ada");
    assert_eq!(people(&operator, &["--to", to]), [("ada".to_owned(), 0)]);
    assert!(!operator.lines(&["events", "--to", to]).is_empty());
    let evidence = site.at("evidence");
    let evidence = evidence.to_str().expect("a plain path");
    operator.done(&["audit", "export", "--to", to, "--out", evidence]);
    for verified in [
        &["audit", "verify", evidence][..],
        &["audit", "verify", "--to", to],
    ] {
        operator.done(verified);
    }
    assert_eq!(operator.done(&status)["role"], "operator");
    let bundle = enrolled().bundle();
    let bundle = bundle.to_str().expect("a plain path");
    for refused in [
        &["push", bundle, "--to", to][..],
        &["hosts", "list", "--to", to],
        &["hosts", "invite", "--to", to],
        &["hosts", "revoke", "office", "--to", to],
    ] {
        operator.refused(refused, REFUSED, &["role admin"]);
    }
    assert_eq!(admin.done(&status)["update"]["highest_counter"], 0);

    let listener = operator.follow(to);
    listener.wait_for("event", |event| bytes(event, "seq") > 0);
    let revoked = admin.done(&["hosts", "revoke", "reception", "--to", to]);
    assert_eq!(revoked["done"], "revoked");
    assert_eq!(hosts(&admin), [office]);
    let cut_off = listener.ended();
    assert_eq!(cut_off.code, Some(REFUSED), "at once: {}", cut_off.err);
    assert!(cut_off.err.contains("not paired"), "{}", cut_off.err);
    operator.refused(&status, REFUSED, &["not paired", "run `facelatch pair`"]);
    admin.refused(
        &["hosts", "revoke", "office", "--to", to],
        REFUSED,
        &["last admin"],
    );

    // Three wrong codes close a window, for the right code too.
    let invited = admin.done(&invite);
    let code = invited["code"].as_str().expect("a code");
    for left in ["2 more tries", "1 more tries", "closed now"] {
        operator.refused(&["pair", "--to", to, "--code", wrong], REFUSED, &[left]);
    }
    operator.refused(&["pair", "--to", to, "--code", code], REFUSED, &["closed"]);
    assert_eq!(door.stop().code, Some(0));
}
