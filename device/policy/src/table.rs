//! A TOML table read key by key, so that every mistake is told with its place.

use toml::{Table, Value};

use crate::{MAX_LISTED, error::Error, nearest::nearest};

/// A table, and where it stands.
pub(crate) struct Section<'a> {
    place: String,
    table: &'a Table,
}

impl<'a> Section<'a> {
    /// A table with no keys but these. `place` is its dotted path, empty for the whole text.
    ///
    /// # Errors
    /// The first key that is none of them.
    pub(crate) fn new(
        place: String,
        table: &'a Table,
        known: &[&str],
    ) -> Result<Section<'a>, Error> {
        let section = Section { place, table };
        match table.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(Error::UnknownKey {
                place: section.path(key),
                nearest: nearest(key, known.iter().copied()),
            }),
            None => Ok(section),
        }
    }

    /// Where a key stands.
    pub(crate) fn path(&self, key: &str) -> String {
        match self.place.as_str() {
            "" => key.to_owned(),
            place => format!("{place}.{key}"),
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.table.get(key)
    }

    /// A table in it.
    pub(crate) fn section(&self, key: &str, known: &[&str]) -> Result<Option<Section<'a>>, Error> {
        let table = self.typed(key, "a table", Value::as_table)?;
        table
            .map(|table| Section::new(self.path(key), table, known))
            .transpose()
    }

    /// Tables by names that are not known before, in a table of their own: `[schedules.NAME]`.
    pub(crate) fn named(
        &self,
        key: &str,
        known: &[&str],
        limit: usize,
    ) -> Result<Vec<(&'a str, Section<'a>)>, Error> {
        let Some(tables) = self.typed(key, "a table", Value::as_table)? else {
            return Ok(vec![]);
        };
        at_most(&self.path(key), tables.len(), limit)?;
        let section = |(name, value): (&'a String, &'a Value)| {
            let place = format!("{}.{name}", self.path(key));
            let table = value
                .as_table()
                .ok_or_else(|| Error::value(&place, "write a table"))?;
            Ok((name.as_str(), Section::new(place, table, known)?))
        };
        tables.iter().map(section).collect()
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, Error> {
        self.typed(key, "a text in quotes", Value::as_str)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A whole number in a range.
    pub(crate) fn number(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<u32>, Error> {
        let Some(number) = self.typed(key, "a whole number", Value::as_integer)? else {
            return Ok(None);
        };
        match u32::try_from(number) {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            Ok(_) | Err(_) => Err(Error::value(
                &self.path(key),
                format!("{number}: give {} to {}", range.start(), range.end()),
            )),
        }
    }

    /// One of a few words, with what each means.
    pub(crate) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Error> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let known: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                let why = format!("{text:?}: write {}", known.join(" or "));
                Err(Error::value(&self.path(key), why))
            }
        }
    }

    /// A list of different texts, empty if there is none.
    pub(crate) fn list(&self, key: &str) -> Result<Vec<&'a str>, Error> {
        self.list_of(key, MAX_LISTED, |value| value.as_str())
    }

    /// A list of different things, empty if there is none.
    pub(crate) fn list_of<T: PartialEq + std::fmt::Debug>(
        &self,
        key: &str,
        limit: usize,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let Some(values) = self.typed(key, "a list", Value::as_array)? else {
            return Ok(vec![]);
        };
        let place = self.path(key);
        at_most(&place, values.len(), limit)?;
        let mut list = vec![];
        for value in values {
            let item = read(value)
                .ok_or_else(|| Error::value(&place, "write a list of texts in quotes"))?;
            if list.contains(&item) {
                return Err(Error::value(&place, format!("{item:?} stands there twice")));
            }
            list.push(item);
        }
        Ok(list)
    }

    fn typed<T>(
        &self,
        key: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let wrong = || Error::value(&self.path(key), format!("write {what}"));
        read(value).map(Some).ok_or_else(wrong)
    }
}

/// Refuses more than a limit.
fn at_most(place: &str, found: usize, limit: usize) -> Result<(), Error> {
    match found <= limit {
        true => Ok(()),
        false => Err(Error::TooMany {
            place: place.to_owned(),
            found,
            limit,
        }),
    }
}
