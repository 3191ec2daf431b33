//! The kit's functions: pipelines of stages, predicates, flat functions, joiners, reducers, aggregators. Each takes keys and
//! values as texts; `None` is null.

use super::value::{Key, Val, show, show_text, text};

/// An error that the program itself raises.
#[derive(Debug, thiserror::Error)]
#[error("the program failed on purpose: {0}")]
pub(crate) struct CatalogueError(pub(crate) String);

type Fallible<T> = Result<T, CatalogueError>;

fn split_arg(stage: &str) -> (&str, &str) {
    stage.split_once(':').unwrap_or((stage, ""))
}

/// `num(s)`: an optional `-` and 1 to 15 digits, else 0.
pub(crate) fn num(text: Option<&str>) -> i64 {
    parse_num(text.unwrap_or_default()).unwrap_or(0)
}

pub(crate) fn parse_num(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let valid = (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

fn arg_num(arg: &str) -> i64 {
    arg.parse().unwrap_or(0)
}

/// One stage of a function.
fn stage(
    stage: &str,
    subject: Option<String>,
    key: Option<&str>,
    value: Option<&str>,
) -> Fallible<Option<String>> {
    let (name, arg) = split_arg(stage);
    Ok(match name {
        "value" => value.map(str::to_owned),
        "key" => key.map(str::to_owned),
        "kv" => Some(format!("{}={}", show_text(key), show_text(value))),
        "identity" => subject,
        "null" => None,
        "const" => Some(arg.to_owned()),
        "or" => Some(subject.unwrap_or_else(|| arg.to_owned())),
        "null-if" => subject.filter(|subject| subject != arg),
        "with-key" => Some(format!("{}={}", show_text(key), show_text(subject.as_deref()))),
        "fail-if" if subject.as_deref() == Some(arg) => return Err(CatalogueError(stage.to_owned())),
        "fail-if" => subject,
        _ => match subject {
            None => None,
            Some(subject) => null_free_stage(name, arg, &subject),
        },
    })
}

/// Stages for which null stays null.
fn null_free_stage(name: &str, arg: &str, subject: &str) -> Option<String> {
    Some(match name {
        "upper" => subject.to_ascii_uppercase(),
        "lower" => subject.to_ascii_lowercase(),
        "suffix" => format!("{subject}{arg}"),
        "prefix" => format!("{arg}{subject}"),
        "reverse" => subject.chars().rev().collect(),
        "len" => subject.len().to_string(),
        "first-char" => subject.chars().take(1).collect(),
        "field" => return subject.split(',').nth(usize::try_from(arg_num(arg)).ok()?).map(str::to_owned),
        "add" => (num(Some(subject)) + arg_num(arg)).to_string(),
        "mod" => num(Some(subject)).rem_euclid(arg_num(arg)).to_string(),
        other => panic!("the catalogue has no stage {other}"),
    })
}

fn run_stages(stages: &[&str], key: Option<&str>, value: Option<&str>) -> Fallible<Option<String>> {
    let mut subject = value.map(str::to_owned);
    for one in stages {
        subject = stage(one, subject, key, value)?;
    }
    Ok(subject)
}

/// A function of key and value.
pub(crate) fn function(spec: &str, key: Option<&str>, value: Option<&str>) -> Fallible<Option<String>> {
    run_stages(&spec.split('|').collect::<Vec<_>>(), key, value)
}

/// A function of a record.
pub(crate) fn of_record(spec: &str, key: &Option<Key>, value: &Option<Val>) -> Fallible<Option<String>> {
    function(spec, text(key).as_deref(), text(value).as_deref())
}

/// A predicate on a record.
pub(crate) fn predicate(spec: &str, key: &Option<Key>, value: &Option<Val>) -> Fallible<bool> {
    let stages: Vec<&str> = spec.split('|').collect();
    let Some((test, stages)) = stages.split_last() else { return Ok(false) };
    let subject = run_stages(stages, text(key).as_deref(), text(value).as_deref())?;
    let (name, arg) = split_arg(test);
    Ok(match (name, subject) {
        ("true", _) => true,
        ("is-null", subject) => subject.is_none(),
        (_, None) => false,
        ("false", _) => false,
        ("not-null", _) => true,
        ("eq", Some(subject)) => subject == arg,
        ("starts", Some(subject)) => subject.starts_with(arg),
        ("contains", Some(subject)) => subject.contains(arg),
        ("len>=", Some(subject)) => i64::try_from(subject.len()).unwrap_or(i64::MAX) >= arg_num(arg),
        ("num>=", Some(subject)) => num(Some(&subject)) >= arg_num(arg),
        ("num<", Some(subject)) => num(Some(&subject)) < arg_num(arg),
        ("even", Some(subject)) => num(Some(&subject)).rem_euclid(2) == 0,
        (other, _) => panic!("the catalogue has no test {other}"),
    })
}

/// A function that yields a list.
pub(crate) fn flat(spec: &str, key: &Option<Key>, value: &Option<Val>) -> Fallible<Vec<String>> {
    let stages: Vec<&str> = spec.split('|').collect();
    let Some((last, stages)) = stages.split_last() else { return Ok(Vec::new()) };
    let Some(subject) = run_stages(stages, text(key).as_deref(), text(value).as_deref())? else {
        return Ok(Vec::new());
    };
    let (name, arg) = split_arg(last);
    let owned = |part: &str| part.to_owned();
    Ok(match name {
        "split-words" => subject.split(' ').filter(|part| !part.is_empty()).map(owned).collect(),
        "split-commas" => subject.split(',').map(owned).collect(),
        "chars" => subject.chars().map(String::from).collect(),
        "repeat" => (0..arg_num(arg)).map(|_| subject.clone()).collect(),
        "number" => (0..arg_num(arg)).map(|n| format!("{subject}{n}")).collect(),
        "none" => Vec::new(),
        other => panic!("the catalogue has no flat function {other}"),
    })
}

/// A joiner of key, left and right.
pub(crate) fn joiner(
    spec: &str,
    key: Option<&str>,
    left: &Option<Val>,
    right: &Option<Val>,
) -> Fallible<Option<Val>> {
    let (name, arg) = split_arg(spec);
    let (left_text, right_text) = (text(left), text(right));
    let concat = || format!("{}+{}", show(left), show(right));
    let either_is = |x: &str| left_text.as_deref() == Some(x) || right_text.as_deref() == Some(x);
    let joined = match name {
        "concat" => Some(concat()),
        "with-key" => Some(format!("{}:{}+{}", show_text(key), show(left), show(right))),
        "left" => left_text,
        "right" => right_text,
        "num-sum" => Some((num(left_text.as_deref()) + num(right_text.as_deref())).to_string()),
        "concat-unless" => (!either_is(arg)).then(concat),
        "fail-if" if either_is(arg) => return Err(CatalogueError(spec.to_owned())),
        "fail-if" => Some(concat()),
        other => panic!("the catalogue has no joiner {other}"),
    };
    Ok(joined.map(Val::Text))
}

/// Takes the first part equal to `part` out of a comma-separated list.
fn remove(list: &str, part: &str) -> String {
    let mut parts: Vec<&str> = list.split(',').collect();
    if let Some(at) = parts.iter().position(|one| *one == part) {
        parts.remove(at);
    }
    parts.join(",")
}

/// A reducer of the aggregate `x` and the value `v`, both as texts.
pub(crate) fn reducer(spec: &str, x: &str, v: &str) -> Option<String> {
    let (name, arg) = split_arg(spec);
    Some(match name {
        "concat" => format!("{x}{v}"),
        "concat-sep" if x.is_empty() => v.to_owned(),
        "concat-sep" => format!("{x},{v}"),
        "max" => (if x.as_bytes() >= v.as_bytes() { x } else { v }).to_owned(),
        "min" => (if x.as_bytes() <= v.as_bytes() { x } else { v }).to_owned(),
        "first" => x.to_owned(),
        "last" => v.to_owned(),
        "num-sum" => (num(Some(x)) + num(Some(v))).to_string(),
        "num-sub" => (num(Some(x)) - num(Some(v))).to_string(),
        "num-max" => (if num(Some(x)) >= num(Some(v)) { x } else { v }).to_owned(),
        "remove" => remove(x, v),
        "concat-null" if v == arg => return None,
        "concat-null" => format!("{x}{v}"),
        other => panic!("the catalogue has no reducer {other}"),
    })
}

/// The start of an aggregation.
pub(crate) fn initializer(spec: &str) -> Option<Val> {
    match split_arg(spec) {
        ("empty", _) => Some(Val::Text(String::new())),
        ("zero", _) => Some(Val::Long(0)),
        ("null", _) => None,
        ("const", text) => Some(Val::Text(text.to_owned())),
        (other, _) => panic!("the catalogue has no initializer {other}"),
    }
}

/// Whether an aggregator's results are longs.
pub(crate) fn makes_longs(spec: &str) -> bool {
    matches!(split_arg(spec).0, "inc" | "dec" | "sum-len" | "sub-len" | "sum-num" | "sub-num")
}

/// An aggregator of key, value and aggregate.
pub(crate) fn aggregator(
    spec: &str,
    key: &Option<Key>,
    value: &Option<Val>,
    aggregate: &Option<Val>,
) -> Fallible<Option<Val>> {
    let (name, arg) = split_arg(spec);
    let v = show(value);
    let long = match aggregate {
        Some(Val::Long(number)) => *number,
        _ => 0,
    };
    let v_len = i64::try_from(v.len()).unwrap_or(i64::MAX);
    let as_long = match name {
        "inc" => Some(long + 1),
        "dec" => Some(long - 1),
        "sum-len" => Some(long + v_len),
        "sub-len" => Some(long - v_len),
        "sum-num" => Some(long + num(text(value).as_deref())),
        "sub-num" => Some(long - num(text(value).as_deref())),
        _ => None,
    };
    if let Some(number) = as_long {
        return Ok(Some(Val::Long(number)));
    }
    let x = text(aggregate).unwrap_or_default();
    let is_arg = text(value).as_deref() == Some(arg);
    let result = match name {
        "concat" => format!("{x}{v}"),
        "concat-sep" if x.is_empty() => v,
        "concat-sep" => format!("{x},{v}"),
        "kv-concat" => format!("{x}[{}={v}]", show(key)),
        "tag-concat" => format!("{x}{arg}{v}"),
        "remove" => remove(&x, &v),
        "max" => {
            if x.as_bytes() >= v.as_bytes() {
                x
            } else {
                v
            }
        }
        "min-len" => {
            if x.is_empty() || v.len() < x.len() {
                v
            } else {
                x
            }
        }
        "concat-null" if is_arg => return Ok(None),
        "concat-null" => format!("{x}{v}"),
        "fail-if" if is_arg => return Err(CatalogueError(spec.to_owned())),
        "fail-if" => format!("{x}{v}"),
        other => panic!("the catalogue has no aggregator {other}"),
    };
    Ok(Some(Val::Text(result)))
}

/// A merger of the aggregates of two sessions.
pub(crate) fn merger(spec: &str, one: &Option<Val>, other: &Option<Val>) -> Option<Val> {
    let number = |value: &Option<Val>| match value {
        Some(Val::Long(number)) => *number,
        _ => 0,
    };
    let (a, b) = (text(one).unwrap_or_default(), text(other).unwrap_or_default());
    Some(Val::Text(match spec {
        "sum" => return Some(Val::Long(number(one) + number(other))),
        "concat" => format!("{a}{b}"),
        "concat-sep" if a.is_empty() => b,
        "concat-sep" if b.is_empty() => a,
        "concat-sep" => format!("{a},{b}"),
        "max" if a.as_bytes() >= b.as_bytes() => a,
        "max" => b,
        other => panic!("the catalogue has no merger {other}"),
    }))
}
