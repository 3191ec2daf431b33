//! The functions of the recorded programs. Keys and values are texts that may be null.

/// A key or value.
pub(crate) type Text = Option<String>;

/// What filters keep, and their opposites drop.
pub(crate) fn keeps(value: &Text) -> bool {
    value.as_ref().is_some_and(|value| !value.starts_with('x'))
}

pub(crate) fn first_character(value: &Text) -> Text {
    value.as_ref().and_then(|value| value.chars().next()).map(String::from)
}

/// The key of another table: what is before `:`, nothing where the value begins with `!`.
pub(crate) fn reference(value: &Text) -> Text {
    let text = value.as_ref().filter(|text| !text.starts_with('!'))?;
    text.split(':').next().map(str::to_owned)
}

pub(crate) fn map_value(value: Text) -> Text {
    value.filter(|value| value != "nil").map(|value| value + "'")
}

pub(crate) fn characters(value: &Text) -> Vec<(Text, Text)> {
    let each = value.iter().flat_map(|value| value.chars());
    each.map(|character| (Some(character.to_string()), value.clone())).collect()
}

pub(crate) fn pieces(value: Text) -> Vec<Text> {
    value.iter().flat_map(|value| value.split('|')).map(|piece| Some(piece.to_owned())).collect()
}

fn show(value: &Text) -> &str {
    value.as_deref().unwrap_or("null")
}

pub(crate) fn join(left: &Text, right: &Text) -> Text {
    Some(format!("{}+{}", show(left), show(right)))
}

/// The reducer and the aggregator of streams: append, or become null.
pub(crate) fn append(aggregate: Text, value: &Text) -> Text {
    match value.as_deref() {
        Some("RESET") => None,
        _ => Some(format!("{},{}", show(&aggregate), show(value))),
    }
}

/// The merger of sessions.
pub(crate) fn merge(one: &Text, other: &Text) -> Text {
    Some(format!("{}|{}", show(one), show(other)))
}

pub(crate) fn add(aggregate: Text, value: &Text) -> Text {
    Some(format!("{}+{}", show(&aggregate), show(value)))
}

pub(crate) fn subtract(aggregate: Text, value: &Text) -> Text {
    Some(format!("{}-{}", show(&aggregate), show(value)))
}

/// The predicate of the `ordinal`-th branch of a split, from 1: values that start with the letter of that number.
pub(crate) fn in_branch(ordinal: usize, value: &Text) -> bool {
    let letter = char::from(b'a' + u8::try_from(ordinal - 1).unwrap());
    value.as_ref().is_some_and(|value| value.starts_with(letter))
}
