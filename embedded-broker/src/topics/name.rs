//! Which topic names are legal (`org.apache.kafka.common.internals.Topic`).

/// Longest topic name, in bytes.
const MAX_LENGTH: usize = 249;

/// Says what is wrong with a topic name; `Ok` for a legal one.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "" => Err("the empty string is not allowed".to_owned()),
        "." | ".." => Err(format!("'{name}' is not allowed")),
        _ if name.len() > MAX_LENGTH => {
            Err(format!("the length of '{name}' is longer than the max allowed length {MAX_LENGTH}"))
        }
        _ if !name.bytes().all(legal) => Err(format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )),
        _ => Ok(()),
    }
}

/// Two names that differ only in `.` and `_` share their metrics' names, so that Apache Kafka refuses the second.
pub(crate) fn collide(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .all(|(x, y)| x == y || (matches!(x, b'.' | b'_') && matches!(y, b'.' | b'_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", "\u{e4}", &"x".repeat(250)] {
            assert!(check(name).is_err(), "{name}");
        }
        for name in ["a", "a.b_c-D9", "__consumer_offsets", &"x".repeat(249)] {
            assert!(check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_collide() {
        assert!(collide("a.b", "a_b"));
        assert!(!collide("a.b", "a-b"));
        assert!(!collide("a.b", "a.bc"));
    }
}
