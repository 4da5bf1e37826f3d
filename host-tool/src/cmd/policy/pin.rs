//! `facelatch policy pin`: a person's PIN as a slow hash in the workspace's policy, whose comments stay as they are.

use std::{
    fmt,
    io::{self, BufRead, IsTerminal},
    path::PathBuf,
};

use facelatch_policy::{Clock, Pin, PinAnswer, PinHash, Policy, TEMPLATE};
use facelatch_protocol::PersonId;
use serde::Serialize;
use toml_edit::{DocumentMut, Item, Table, TableLike, value};

use crate::{Error, cli::Global, home::Home, sealed::write_atomic};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks for 4 to 8 digits, twice, without showing them. Doors learn of it with the next push.

Example: facelatch policy pin ada
Example: facelatch policy pin ada --duress")]
pub(super) struct Args {
    /// Whose.
    #[arg(value_name = "ID")]
    person: String,
    /// Set the code they type when somebody makes them: it opens, and tells those who listen.
    #[arg(long)]
    duress: bool,
    /// Read the digits from the first line of standard input, once.
    #[arg(long)]
    stdin: bool,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    person: String,
    /// "pin" or "duress-pin".
    set: &'static str,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.set {
            "pin" => "PIN",
            _ => "duress code",
        };
        write!(
            f,
            "{}: {} has a new {what}; `facelatch push` brings it to the doors",
            self.file.display(),
            self.person
        )
    }
}

/// Sets it.
pub(super) fn run(global: &Global, home: &Home, args: &Args) -> Result<(), Error> {
    let person = PersonId::parse(&args.person)
        .map_err(|why| Error::Usage(format!("the person {:?} {why}", args.person)))?;
    let file = home.policy_path();
    let text = home.policy()?.unwrap_or_else(|| TEMPLATE.to_owned());
    let wrong = |why: String| Error::Input {
        path: file.clone(),
        why,
    };
    let policy = Policy::parse(&text).map_err(|e| wrong(e.to_string()))?;
    may_have_one(&policy, &person).map_err(wrong)?;
    let digits = match args.stdin {
        true => from_stdin()?,
        false => from_terminal()?,
    };
    let pin = Pin::parse(&digits).map_err(|why| Error::Usage(why.to_string()))?;
    differs(&policy, &person, &digits, args.duress)?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)
        .map_err(|error| Error::Bug(format!("the system has no random bytes: {error}")))?;
    let key = if args.duress { "duress_pin" } else { "pin" };
    let hash = PinHash::new(&pin, salt).to_string();
    let text = with_key(&text, &person, key, &hash).map_err(wrong)?;
    // What was written must be what a door can read.
    Policy::parse(&text).map_err(|e| wrong(e.to_string()))?;
    write_atomic(&file, text.as_bytes())?;
    global.format().print(&Report {
        file,
        person: person.to_string(),
        set: if args.duress { "duress-pin" } else { "pin" },
    })
}

/// An entry of its own is a right of its own: nobody gets one by being given a PIN.
fn may_have_one(policy: &Policy, person: &PersonId) -> Result<(), String> {
    if policy.is_denied(person) {
        return Err(format!("{person} is deny-listed: no PIN helps them"));
    }
    let is_listed = policy.people().any(|listed| listed == person);
    match is_listed || policy.may_pass(person, Clock::Unknown, "").is_ok() {
        true => Ok(()),
        false => Err(format!(
            "there are no rules for {person}, and unlisted = \"never\": write [people.{person}] first"
        )),
    }
}

/// Refuses a PIN and a duress code that are one, and a duress code alone.
fn differs(policy: &Policy, person: &PersonId, digits: &str, duress: bool) -> Result<(), Error> {
    let why = match (policy.check_pin(person, digits), duress) {
        (PinAnswer::NoneSet, true) => "there is no PIN yet: set that first",
        (PinAnswer::Right, true) => "that is the PIN: the duress code has to be another one",
        (PinAnswer::Duress, false) => "that is the duress code: the PIN has to be another one",
        (PinAnswer::NoneSet | PinAnswer::Right, false)
        | (PinAnswer::Duress, true)
        | (PinAnswer::Wrong, _) => return Ok(()),
    };
    Err(Error::Usage(format!("{person}: {why}")))
}

fn from_stdin() -> Result<String, Error> {
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(Error::storage("read", "standard input"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn from_terminal() -> Result<String, Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::Usage(
            "there is no terminal to ask at: give the digits with --stdin".into(),
        ));
    }
    let ask = |prompt| {
        rpassword::prompt_password(prompt).map_err(Error::storage("read from", "the terminal"))
    };
    let (once, twice) = (ask("4 to 8 digits: ")?, ask("again: ")?);
    match once == twice {
        true => Ok(once),
        false => Err(Error::Usage("the two are not the same".into())),
    }
}

/// The text with `people.ID.key` set, and everything else as it was.
fn with_key(text: &str, person: &PersonId, key: &str, hash: &str) -> Result<String, String> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| error.to_string())?;
    let mut implicit = Table::new();
    implicit.set_implicit(true);
    let people = table(document.as_table_mut(), "people", implicit)?;
    let person = table(people, person, Table::new())?;
    person.insert(key, value(hash));
    Ok(document.to_string())
}

/// The table under a key, a new one if there is none.
fn table<'t>(
    parent: &'t mut dyn TableLike,
    key: &str,
    new: Table,
) -> Result<&'t mut dyn TableLike, String> {
    let entry = parent.entry(key).or_insert(Item::Table(new));
    entry
        .as_table_like_mut()
        .ok_or_else(|| format!("{key} is no table"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_is_set_and_everything_else_stays() {
        let ada = PersonId::parse("ada").unwrap();
        let policies = [
            "# rules\nzone = \"UTC\" # here\n\n[people.ada] # she\nvisits = 1\n\n[people.alan]\n",
            "zone = \"UTC\"\n[people.ada] # she\npin = \"old\"\n",
            "zone = \"UTC\"\n[people]\nada = { visits = 1 } # she\n",
            "zone = \"UTC\"\npeople = { ada = { visits = 1 } } # she\n",
            "people.ada.visits = 1 # she\nzone = \"UTC\"\n",
            "zone = \"UTC\"\n# nobody yet\n",
            TEMPLATE,
        ];
        let hash = PinHash::new(&Pin::parse("4711").unwrap(), [1; 16]).to_string();
        let comments = |text: &str| -> Vec<String> {
            let comments = text.lines().filter_map(|line| line.split_once('#'));
            comments.map(|(_, comment)| comment.to_owned()).collect()
        };
        for before in policies {
            let after = with_key(before, &ada, "pin", &hash).unwrap();
            assert_eq!(comments(&after), comments(before), "{after}");
            let policy = Policy::parse(&after).unwrap();
            assert_eq!(policy.check_pin(&ada, "4711"), PinAnswer::Right, "{after}");
            let visits = policy.may_pass(&ada, Clock::Unknown, "").unwrap().visits;
            let had_visits = before != TEMPLATE && before.contains("visits");
            assert_eq!(visits.is_some(), had_visits, "{after}");
        }
        assert!(with_key("people = 1\n", &ada, "pin", &hash).is_err());
    }
}
