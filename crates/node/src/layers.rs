//! The layers of configuration: a file, the environment, the command line, in rising order.
//!
//! It knows no key's meaning; [`crate::Settings`] and the catalogue in `metadata` do.

use crate::Error;
use metadata::config::{self, ResourceKind};
use std::{collections::BTreeMap, path::Path};

/// Keys and values, later layers over earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers(BTreeMap<String, String>);

const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

impl Layers {
    /// A value that holds unless a layer says otherwise.
    pub fn default_to(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_owned()).or_insert_with(|| value.into());
    }

    /// The layer of a file: Kafka's `server.properties` form, or TOML if its name ends in `.toml`.
    pub fn read_file(&mut self, disk: &dyn env::Disk, path: &Path) -> Result<(), Error> {
        let fail = |error| Error::File { path: path.to_owned(), error };
        let bytes = disk.read_small(path, FILE_BYTES_MAX).map_err(fail)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::Configuration(vec![format!("{} is not UTF-8", path.display())]))?;
        if path.extension().is_some_and(|extension| extension == "toml") {
            self.read_toml(&text)
                .map_err(|why| Error::Configuration(vec![format!("{}: {why}", path.display())]))
        } else {
            self.read_properties(&text);
            Ok(())
        }
    }

    /// Lines of `key=value`, as Java reads properties: comments, continued lines, escapes.
    pub fn read_properties(&mut self, text: &str) {
        let mut logical = String::new();
        for line in text.lines() {
            let line = line.trim_start();
            if logical.is_empty() && (line.is_empty() || line.starts_with(['#', '!'])) {
                continue;
            }
            let backslashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
            if backslashes % 2 == 1 {
                logical.push_str(line.get(..line.len() - 1).unwrap_or_default());
                continue;
            }
            logical.push_str(line);
            self.read_pair(&std::mem::take(&mut logical));
        }
        if !logical.is_empty() {
            self.read_pair(&logical);
        }
    }

    fn read_pair(&mut self, line: &str) {
        let mut escaped = false;
        let end = line.find(|letter: char| {
            let ends = !escaped && (letter == '=' || letter == ':' || letter.is_whitespace());
            escaped = !escaped && letter == '\\';
            ends
        });
        let (key, rest) = line.split_at(end.unwrap_or(line.len()));
        let rest = rest.trim_start();
        let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
        self.0.insert(unescape(key), unescape(value));
    }

    /// Tables and dotted keys become keys with dots, arrays become lists.
    pub fn read_toml(&mut self, text: &str) -> Result<(), String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        self.flatten("", toml::Value::Table(table));
        Ok(())
    }

    fn flatten(&mut self, prefix: &str, value: toml::Value) {
        match value {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                    self.flatten(&key, value);
                }
            }
            toml::Value::Array(values) => {
                let texts: Vec<_> = values.into_iter().map(plain).collect();
                self.0.insert(prefix.to_owned(), texts.join(","));
            }
            value => {
                self.0.insert(prefix.to_owned(), plain(value));
            }
        }
    }

    /// The layer of the environment: `KAFKA_LOG_RETENTION_MS` is `log.retention.ms`, `ODRADEK_ACK_DURABILITY` is
    /// `odradek.ack.durability`. Names that are no key are other programs' business and are left alone.
    pub fn read_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, value) in variables {
            let key = match name.strip_prefix("KAFKA_") {
                Some(rest) => rest.to_lowercase().replace('_', "."),
                None if name.starts_with("ODRADEK_") => name.to_lowercase().replace('_', "."),
                None => continue,
            };
            if config::find(ResourceKind::Broker, &key).is_some() {
                self.0.insert(key, value);
            }
        }
    }

    /// The layer of the command line.
    pub fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.to_owned());
    }

    /// The value that counts.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All keys with the values that count.
    pub fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter()
    }
}

fn plain(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('t') => out.push('\t'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('f') => out.push('\u{c}'),
                Some('u') => {
                    let digits: String = letters.by_ref().take(4).collect();
                    out.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                }
                Some(other) => out.push(other),
                None => {}
            },
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let mut layers = Layers::default();
        layers.read_properties(
            "# c\n! c\n a = 1 \nb:2\nc 3\nd\\=e=4\nlong=x,\\\n   y\nu=\\u0041\\tb\nempty=\n",
        );
        let get = |key| layers.get(key).map(str::to_owned);
        assert_eq!(get("a").as_deref(), Some("1 "), "trailing blanks belong to the value");
        assert_eq!((get("b").as_deref(), get("c").as_deref()), (Some("2"), Some("3")));
        assert_eq!(get("d=e").as_deref(), Some("4"));
        assert_eq!(get("long").as_deref(), Some("x,y"));
        assert_eq!((get("u").as_deref(), get("empty").as_deref()), (Some("A\tb"), Some("")));
    }

    #[test]
    fn toml_tables_and_dotted_keys_are_the_same() {
        let mut layers = Layers::default();
        layers
            .read_toml("log.retention.ms = 5\nlisteners = ['A://:1', 'B://:2']\n[log.roll]\nms = 7\n")
            .unwrap();
        assert_eq!(layers.get("log.retention.ms"), Some("5"));
        assert_eq!(layers.get("log.roll.ms"), Some("7"));
        assert_eq!(layers.get("listeners"), Some("A://:1,B://:2"));
        assert!(layers.read_toml("a = ").is_err());
    }

    #[test]
    fn later_layers_win_and_foreign_variables_are_left_alone() {
        let mut layers = Layers::default();
        layers.read_properties("log.retention.ms=1\nnode.id=1");
        let variables =
            [("KAFKA_LOG_RETENTION_MS", "2"), ("KAFKA_HEAP_OPTS", "-Xmx1G"), ("ODRADEK_BIN", "x")];
        layers.read_environment(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        assert_eq!(layers.get("log.retention.ms"), Some("2"));
        layers.set("log.retention.ms", "3");
        layers.default_to("node.id", "9");
        layers.default_to("log.dirs", "d");
        assert_eq!(layers.into_pairs().count(), 3);
    }
}
