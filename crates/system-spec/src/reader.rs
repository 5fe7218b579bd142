// SPDX-License-Identifier: MIT OR Apache-2.0
//! Walks a TOML document with spans and collects remarks instead of stopping at the first error.

use core::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Diagnostic;
use crate::language::{Choice, Section, Status, nearest};

type Span = Range<usize>;

/// A TOML table and where it is.
pub(crate) struct Table<'a> {
    keys: DeTable<'a>,
    pub span: Span,
}

impl<'a> Table<'a> {
    fn get(&self, key: &str) -> Option<&Spanned<DeValue<'a>>> {
        self.keys.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Its keys, and where they are.
    pub fn keys(&self) -> Vec<(String, Span)> {
        self.keys.keys().map(|key| (key.get_ref().to_string(), key.span())).collect()
    }

    /// Whether the table has that key, of whatever type.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }
}

/// Reads typed values out of tables; whatever is wrong becomes a remark.
pub(crate) struct Reader<'a> {
    text: &'a str,
    remarks: Vec<Diagnostic>,
    /// How many of the remarks, the first ones, are about syntax.
    broken: usize,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, remarks: Vec::new(), broken: 0 }
    }

    /// The whole document, as far as its syntax lets it be read.
    pub fn document(&mut self) -> Table<'a> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            self.broken += 1;
            self.error(error.span().unwrap_or(0..0), error.message().trim(), "");
        }
        Table { span: 0..0, keys: document.into_inner() }
    }

    /// All remarks so far. What follows from a line whose syntax is broken is left out.
    pub fn finish(self) -> Vec<Diagnostic> {
        let line = |remark: &Diagnostic| self.text[..remark.span.start].matches('\n').count();
        let broken: Vec<_> = self.remarks[..self.broken].iter().map(line).collect();
        let (syntax, mut rest) = (self.remarks[..self.broken].to_vec(), self.remarks[self.broken..].to_vec());
        rest.retain(|remark| !broken.contains(&line(remark)));
        [syntax, rest].concat()
    }

    pub fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.remarks.push(Diagnostic::error(span, message, help));
    }

    pub fn warning(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.remarks.push(Diagnostic::warning(span, message, help));
    }

    pub fn not_yet(&mut self, span: Span, what: &str, help: impl Into<String>) {
        self.error(span, format!("{what}: not supported yet"), help);
    }

    /// Refuses keys that the section doesn't have, and those that aren't built.
    pub fn known_keys(&mut self, table: &Table<'_>, section: &Section) {
        for key in table.keys.keys() {
            let name = key.get_ref().as_ref();
            match section.keys.iter().find(|(known, _)| *known == name) {
                Some((_, Status::Built)) => {}
                Some((_, Status::Later)) => {
                    self.not_yet(key.span(), &format!("`{name}` in {}", section.name), "leave it out");
                }
                None => {
                    let known = || section.keys.iter().map(|(known, _)| *known);
                    let help = match nearest(name, known()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("the keys here are: {}", known().collect::<Vec<_>>().join(", ")),
                    };
                    self.error(key.span(), format!("unknown key `{name}` in {}", section.name), help);
                }
            }
        }
    }

    pub fn table<'t>(&mut self, parent: &Table<'t>, key: &str) -> Option<Table<'t>> {
        let value = parent.get(key)?;
        match value.get_ref() {
            DeValue::Table(keys) => Some(Table { keys: keys.clone(), span: value.span() }),
            other => self.mistyped(value.span(), key, "a table", other),
        }
    }

    pub fn required_table<'t>(
        &mut self,
        parent: &Table<'t>,
        key: &str,
        section: &Section,
    ) -> Option<Table<'t>> {
        if !parent.has(key) && self.broken == 0 {
            self.error(
                0..0,
                format!("{} is missing", section.name),
                format!("add {} with a name", section.name),
            );
        }
        self.table(parent, key)
    }

    /// An array of tables; none if the key is absent.
    pub fn tables<'t>(&mut self, parent: &Table<'t>, key: &str) -> Vec<Table<'t>> {
        let Some(value) = parent.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            let help = format!("write [[{key}]] with two brackets");
            let kind = kind(value.get_ref());
            self.error(value.span(), format!("`{key}` is {kind}, not a list of tables"), help);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(keys) => tables.push(Table { keys: keys.clone(), span: item.span() }),
                other => {
                    let _: Option<()> = self.mistyped(item.span(), key, "a list of tables", other);
                }
            }
        }
        tables
    }

    pub fn text(&mut self, table: &Table<'_>, key: &str) -> Option<(String, Span)> {
        let value = table.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some((text.to_string(), value.span())),
            other => self.mistyped(value.span(), key, "a text in quotes", other),
        }
    }

    pub fn required_text(
        &mut self,
        table: &Table<'_>,
        key: &str,
        section: &Section,
    ) -> Option<(String, Span)> {
        if !table.has(key) && self.broken == 0 {
            let message = format!("{} has no `{key}`", section.name);
            self.error(table.span.clone(), message, format!("add `{key} = \"…\"`"));
        }
        self.text(table, key)
    }

    /// A list of texts; empty if the key is absent.
    pub fn texts(&mut self, table: &Table<'_>, key: &str) -> Vec<(String, Span)> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            let _: Option<()> = self.mistyped(value.span(), key, "a list of texts", value.get_ref());
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push((text.to_string(), item.span())),
                other => {
                    let _: Option<()> = self.mistyped(item.span(), key, "a list of texts", other);
                }
            }
        }
        texts
    }

    /// The keys of the table `key` and their values, which are texts; none if the key is absent.
    pub fn pairs(&mut self, table: &Table<'_>, key: &str) -> Vec<((String, Span), (String, Span))> {
        let Some(table) = self.table(table, key) else { return Vec::new() };
        let mut pairs = Vec::new();
        for (name, value) in &table.keys {
            let name = (name.get_ref().to_string(), name.span());
            match value.get_ref() {
                DeValue::String(text) => pairs.push((name, (text.to_string(), value.span()))),
                other => {
                    let _: Option<()> = self.mistyped(value.span(), &name.0, "a text in quotes", other);
                }
            }
        }
        // In the order of the file.
        pairs.sort_by_key(|((_, span), _)| span.start);
        pairs
    }

    pub fn integer(&mut self, table: &Table<'_>, key: &str) -> Option<(i64, Span)> {
        let value = table.get(key)?;
        if let DeValue::Integer(number) = value.get_ref() {
            // What doesn't fit 64 bits is out of every key's range as well.
            let number = i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX);
            return Some((number, value.span()));
        }
        self.mistyped(value.span(), key, "a whole number", value.get_ref())
    }

    /// A list of whole numbers.
    pub fn integers(&mut self, table: &Table<'_>, key: &str) -> Option<(Vec<i64>, Span)> {
        let value = table.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            return self.mistyped(value.span(), key, "a list of whole numbers", value.get_ref());
        };
        let mut numbers = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Integer(number) => {
                    numbers.push(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX));
                }
                other => return self.mistyped(item.span(), key, "a list of whole numbers", other),
            }
        }
        Some((numbers, value.span()))
    }

    pub fn boolean(&mut self, table: &Table<'_>, key: &str) -> Option<bool> {
        let value = table.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            other => self.mistyped(value.span(), key, "true or false", other),
        }
    }

    /// The word that was chosen, if it is one that the choice has and that is built; otherwise it is refused.
    pub fn choice(&mut self, table: &Table<'_>, choice: &Choice) -> Option<&'static str> {
        let (word, span) = self.text(table, choice.key)?;
        let list = |status| {
            let words = choice.words.iter().filter(|(_, found)| *found == status);
            words.map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
        };
        match choice.words.iter().find(|(known, _)| *known == word) {
            Some((known, Status::Built)) => return Some(known),
            Some((_, Status::Later)) => {
                let help = format!("leave it out, or write {}", list(Status::Built));
                self.not_yet(span, &format!("{} = \"{word}\"", choice.key), help);
            }
            None => {
                let help = format!("write {}", list(Status::Built));
                self.error(span, format!("`{}` can't be \"{word}\"", choice.key), help);
            }
        }
        None
    }

    fn mistyped<T>(&mut self, span: Span, key: &str, wanted: &str, found: &DeValue<'_>) -> Option<T> {
        self.error(span, format!("`{key}` is {}, not {wanted}", kind(found)), format!("write {wanted}"));
        None
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
