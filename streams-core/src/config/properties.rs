//! Settings as a Java application has them: a map of names and texts, or a `.properties` file.

use std::path::Path;

use super::client_names::PREFIXES;
use super::fault::{ConfigError, ConfigFault};
use super::keys::{OLD_NAMES, shown};
use super::{StreamsConfig, client::Taken};

impl StreamsConfig {
    /// The settings of a Java application, by Kafka's names. Settings without effect here are logged and listed by
    /// [`ignored_settings`](Self::ignored_settings).
    ///
    /// # Errors
    /// Every fault at once: unknown names (with the nearest known one), bad values, contradictions, a missing `application.id`
    /// or `bootstrap.servers`.
    pub fn from_properties<K, V>(
        properties: impl IntoIterator<Item = (K, V)>,
    ) -> Result<StreamsConfig, ConfigError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut given: Vec<(String, String)> = properties
            .into_iter()
            .map(|(key, value)| (key.as_ref().trim().to_owned(), value.as_ref().to_owned()))
            .collect();
        // The wider prefix first, so that the narrower one has the last word.
        let width = |key: &str| PREFIXES.iter().rposition(|(prefix, _)| key.starts_with(prefix));
        given.sort_by(|(a, _), (b, _)| (width(a), a).cmp(&(width(b), b)));
        let mut config = StreamsConfig::new("", "");
        config.faults.extend(contradictions(&given));
        for (key, value) in &given {
            if let Err(fault) = config.apply(key, value) {
                config.faults.push(fault);
            }
        }
        config.validate()?;
        for (key, why) in config.ignored_settings() {
            tracing::warn!(setting = key, reason = why, "setting ignored");
        }
        Ok(config)
    }

    /// The settings in a Java `.properties` file in UTF-8.
    ///
    /// # Errors
    /// A file that cannot be read, a malformed escape, and everything that [`from_properties`](Self::from_properties) finds.
    pub fn from_properties_file(path: impl AsRef<Path>) -> Result<StreamsConfig, ConfigError> {
        let path = path.as_ref();
        let fault = |problem: String| ConfigError::of(ConfigFault::new(path.display().to_string(), problem));
        let text = std::fs::read_to_string(path)
            .map_err(|error| fault(format!("the properties file cannot be read: {error}")))?;
        let properties = parse(&text)
            .map_err(|line| fault(format!("line {line}: a \\u escape needs four hexadecimal digits")))?;
        StreamsConfig::from_properties(properties)
    }

    pub(super) fn apply_to_clients(&mut self, key: &str, value: &str) -> Option<Result<(), ConfigFault>> {
        match self.clients.offer(key, value) {
            Taken::Yes => Some(Ok(())),
            Taken::Refused(fault) => Some(Err(fault)),
            Taken::Unknown => None,
            Taken::Ignored(why) => {
                self.ignored.insert(key.to_owned(), why);
                Some(Ok(()))
            }
        }
    }
}

/// An old and a new name of one setting with different values; one name twice with different values.
fn contradictions(given: &[(String, String)]) -> Vec<ConfigFault> {
    let value = |name: &str| given.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim());
    let old_and_new = OLD_NAMES.iter().filter_map(|(old, new)| {
        let (before, now) = (value(old)?, value(new)?);
        let problem = || {
            format!(
                "{} contradicts `{new}`, which is {}; remove this old name",
                shown(old, before),
                shown(new, now)
            )
        };
        (before != now).then(|| ConfigFault::new(*old, problem()))
    });
    let twice =
        given.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1.trim() != pair[1].1.trim());
    old_and_new
        .chain(twice.map(|pair| {
            ConfigFault::new(pair[0].0.clone(), "is given twice with different values; remove one")
        }))
        .collect()
}

/// The pairs of a `.properties` file, by the rules of `java.util.Properties.load`. The error is the number of the line with a malformed
/// `\u` escape.
fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut logical = line.trim_start().to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        // An odd number of backslashes at the end: the line goes on in the next.
        while logical.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1 {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        pairs.push((unescape(key).ok_or(number + 1)?, unescape(value).ok_or(number + 1)?));
    }
    Ok(pairs)
}

/// Key and value: parted by the first unescaped `=`, `:` or space, with spaces around it.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (c == '=' || c == ':' || c.is_whitespace());
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start())
}

fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    let mut buffer = [0; 2];
    while let Some(c) = characters.next() {
        let plain = match c {
            '\\' => match characters.next()? {
                'u' => {
                    let digits: String = characters.by_ref().take(4).collect();
                    let valid = digits.len() == 4 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
                    units.push(u16::from_str_radix(&digits, 16).ok().filter(|_| valid)?);
                    continue;
                }
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'f' => '\u{c}',
                other => other,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let text = "# comment\n! another\n\n a = b \nc:d\ne f\ng\nlong = one,\\\n    two\n\\u00e9\\ x=\\ty\\\\\ntwo\\\\\nurl=http://x:1/?a=b\n";
        let pairs = parse(text).unwrap();
        let expected = [
            ("a", "b "),
            ("c", "d"),
            ("e", "f"),
            ("g", ""),
            ("long", "one,two"),
            ("\u{e9} x", "\ty\\"),
            ("two\\", ""),
            ("url", "http://x:1/?a=b"),
        ];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(parse("a=b\nc=\\u12"), Err(2));
        assert_eq!(parse("a=\\"), Ok(vec![("a".into(), String::new())]));
    }
}
