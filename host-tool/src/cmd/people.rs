//! `facelatch people`: show and change the enrolled people, in the workspace or on a door. Enrolling at a door is in
//! `people/enroll.rs`.

mod enroll;

use std::fmt;

use facelatch_protocol::{DisplayName, PersonId, Refusal};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    client::Client,
    cmd::door::connect,
    home::{Home, Person, unix_ms_now},
    report::count,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --to, works on the workspace; its changes reach doors with the next `facelatch push`. With --to, works on the
door's own people at once.

`rename` gives a person another id; with --to also in the workspace, if they are there: a bundle with the old id would bring
it back with whatever templates the door does not have under the new one. A door refuses it for somebody its policy has rules
for: change the policy, rename in the workspace, and push. `enroll` opens a window at a door: the next face
there is led through a few poses and enrolled, with no admin's face before; `pull` fetches the templates.

Exit code 1: there is no such person. Exit code 3: the door refused; with --follow also: nobody was enrolled.

Example: facelatch people list
Example: facelatch people remove bob --to 192.0.2.7:7117
Example: facelatch people rename door-1764118800000 bob --name 'Bob Ross' --to reception
Example: facelatch people enroll --to reception --person bob --follow")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// On this door instead of in the workspace: HOST[:PORT], a serial device such as /dev/ttyUSB0[@BAUD], or the name of a
    /// paired door.
    #[arg(long, global = true, value_name = "HOST:PORT|TTY|NAME")]
    to: Option<String>,
}

/// What to do with people.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the people with the number of their templates.
    List,
    /// Add a person without templates, or rename one.
    Add {
        /// Id: letters, digits, '.', '_' and '-', at most 32.
        person: String,
        /// Name to show [default: the id].
        #[arg(long)]
        name: Option<String>,
    },
    /// Remove a person with all templates.
    Remove {
        /// Id.
        person: String,
    },
    /// Give a person another id, with all templates.
    Rename {
        /// Id until now.
        person: String,
        /// Id from now on; the same one to change the name only.
        new: String,
        /// Name to show [default: the one they have].
        #[arg(long)]
        name: Option<String>,
    },
    /// Let somebody be enrolled at a door (--to).
    Enroll(enroll::Args),
}

#[derive(Serialize)]
struct List {
    people: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    person: String,
    name: String,
    templates: usize,
    created_unix_ms: u64,
}

#[derive(Serialize)]
struct Changed {
    person: String,
    done: &'static str,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for listed in &self.people {
            let templates = count(listed.templates, "template", "templates");
            writeln!(f, "{:32} {:32} {templates}", listed.person, listed.name)?;
        }
        write!(f, "{}", count(self.people.len(), "person", "people"))
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.person, self.done)
    }
}

/// Runs the verb.
///
/// # Errors
/// A wrong id or name, a workspace that cannot be read or written, a door that cannot be reached or refuses.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    // A wrong id or name is found before the door is called.
    let asked = match &args.verb {
        Verb::List => Asked::List,
        Verb::Add { person, name } => Asked::Add(
            parse_id(person)?,
            parse_name(name.as_deref().unwrap_or(person))?,
        ),
        Verb::Remove { person } => Asked::Remove(parse_id(person)?),
        Verb::Rename { person, new, name } => Asked::Rename {
            person: parse_id(person)?,
            to: parse_id(new)?,
            name: name.as_deref().map(parse_name).transpose()?,
        },
        Verb::Enroll(enrolling) => return enroll::run(global, enrolling, args.to.as_deref()),
    };
    let exit = match &args.to {
        None => in_workspace(global, &global.home(), asked)?,
        Some(to) => {
            let home = global.home();
            on_door(global, &home, &mut connect(&home, to)?, asked)?
        }
    };
    Ok(exit)
}

enum Asked {
    List,
    Add(PersonId, DisplayName),
    Remove(PersonId),
    Rename {
        person: PersonId,
        to: PersonId,
        name: Option<DisplayName>,
    },
}

fn in_workspace(global: &Global, home: &Home, asked: Asked) -> Result<Exit, Error> {
    match asked {
        Asked::List => {
            let listed = home.people()?.into_iter().map(|person| Listed {
                person: person.id.to_string(),
                name: person.name.to_string(),
                templates: person.templates.len(),
                created_unix_ms: person.created_unix_ms,
            });
            global.format().print(&List {
                people: listed.collect(),
            })?;
            Ok(Exit::Done)
        }
        Asked::Add(id, name) => {
            let (person, done) = match home.person(&id)? {
                Some(known) => (Person { name, ..known }, "renamed"),
                None => {
                    let created_unix_ms = unix_ms_now();
                    (
                        Person {
                            id,
                            name,
                            created_unix_ms,
                            templates: Vec::new(),
                        },
                        "added",
                    )
                }
            };
            home.put_person(&person)?;
            changed(global, &person.id, done)
        }
        Asked::Remove(id) => match remove(home, &id)? {
            true => changed(global, &id, "removed"),
            false => unknown(global, &id),
        },
        Asked::Rename { person, to, name } => match rename(home, &person, &to, name.as_ref())? {
            true => changed(global, &to, "renamed"),
            false => unknown(global, &person),
        },
    }
}

/// Removes a person of the workspace, and what the cache has of their photos; false if there is no such person.
fn remove(home: &Home, person: &PersonId) -> Result<bool, Error> {
    let photos = home.photos_of(person);
    let was_there = home.remove_person(person)?;
    home.cache().forget(&photos)?;
    Ok(was_there)
}

/// Gives a person of the workspace another id; false if there is no such person.
fn rename(
    home: &Home,
    person: &PersonId,
    to: &PersonId,
    name: Option<&DisplayName>,
) -> Result<bool, Error> {
    let Some(known) = home.person(person)? else {
        return Ok(false);
    };
    is_free(home, person, to)?;
    let name = name.cloned().unwrap_or_else(|| known.name.clone());
    let id = to.clone();
    home.put_person(&Person { id, name, ..known })?;
    if person != to {
        home.remove_person(person)?;
    }
    Ok(true)
}

/// Two people under one id would be one person to every door.
fn is_free(home: &Home, person: &PersonId, to: &PersonId) -> Result<(), Error> {
    match person != to && home.person(to)?.is_some() {
        true => Err(Error::Usage(format!(
            "the workspace has another person with the id {to}"
        ))),
        false => Ok(()),
    }
}

fn on_door(global: &Global, home: &Home, client: &mut Client, asked: Asked) -> Result<Exit, Error> {
    match asked {
        Asked::List => {
            let listed = client.people()?.into_iter().map(|person| Listed {
                person: person.person.to_string(),
                name: person.name.to_string(),
                templates: person.templates as usize,
                created_unix_ms: person.created_unix_ms,
            });
            global.format().print(&List {
                people: listed.collect(),
            })?;
            Ok(Exit::Done)
        }
        Asked::Add(id, name) => {
            client.person_add(id.clone(), name)?;
            changed(global, &id, "added or renamed")
        }
        Asked::Remove(id) => match client.person_remove(id.clone()) {
            Ok(()) => changed(global, &id, "removed"),
            Err(error) if error.refusal() == Some(&Refusal::UnknownPerson) => unknown(global, &id),
            Err(error) => Err(Error::from(error)),
        },
        Asked::Rename { person, to, name } => {
            // Before the door renames: the next bundle would join the two there.
            is_free(home, &person, &to)?;
            let listed = client.people()?;
            let Some(known) = listed.into_iter().find(|p| p.person == person) else {
                return unknown(global, &person);
            };
            let name = name.unwrap_or(known.name);
            client.person_rename(person.clone(), to.clone(), name.clone())?;
            // Else the next bundle has the old id.
            let done = match rename(home, &person, &to, Some(&name))? {
                true => "renamed, in the workspace too",
                false => "renamed",
            };
            changed(global, &to, done)
        }
    }
}

fn changed(global: &Global, id: &PersonId, done: &'static str) -> Result<Exit, Error> {
    global.format().print(&Changed {
        person: id.to_string(),
        done,
    })?;
    Ok(Exit::Done)
}

fn unknown(global: &Global, id: &PersonId) -> Result<Exit, Error> {
    global.format().print(&Changed {
        person: id.to_string(),
        done: "no such person",
    })?;
    Ok(Exit::No)
}

pub(crate) fn parse_id(text: &str) -> Result<PersonId, Error> {
    PersonId::parse(text).map_err(|why| Error::Usage(format!("the id {text:?} {why}")))
}

fn parse_name(text: &str) -> Result<DisplayName, Error> {
    DisplayName::parse(text).map_err(|why| Error::Usage(format!("the name {text:?} {why}")))
}
