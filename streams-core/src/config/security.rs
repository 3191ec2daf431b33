//! Logins and key stores: what takes several of Java's settings together to say in librdkafka's.
//!
//! | Java | librdkafka |
//! |---|---|
//! | `sasl.jaas.config` of PlainLoginModule, ScramLoginModule | `sasl.username`, `sasl.password` |
//! | of OAuthBearerLoginModule | `sasl.oauthbearer.client.id`, `.client.secret`, `.scope` |
//! | of Krb5LoginModule | `sasl.kerberos.principal`, `sasl.kerberos.keytab` |
//! | `ssl.truststore.location` of type PEM | `ssl.ca.location` |
//! | `ssl.truststore.certificates` | `ssl.ca.pem` |
//! | `ssl.keystore.location` of type PEM | `ssl.certificate.location` and `ssl.key.location` |
//! | of type PKCS12 | `ssl.keystore.location`, `ssl.keystore.password` |
//!
//! JKS stores cannot be read outside Java: an error that says how to convert them.

use super::fault::ConfigFault;

/// The user's settings of one client: value and the name that the user wrote, by name without prefix.
pub(super) trait Given {
    /// The setting's value and the name that the user wrote.
    fn given(&self, name: &str) -> Option<(&str, &str)>;
}

/// A librdkafka setting made of Java's: name, value, and the name that the user wrote.
pub(super) type Made<'a> = (&'static str, String, &'a str);

/// Translates what [`To::Security`](super::client_names::To::Security) marks.
pub(super) fn translate(
    settings: &impl Given,
    faults: &mut Vec<ConfigFault>,
) -> Vec<(&'static str, String, String)> {
    let mut made = Vec::new();
    let results = [login(settings), trust_store(settings), key_store(settings)];
    for result in results {
        match result {
            Ok(settings) => {
                made.extend(settings.into_iter().map(|(name, value, key)| (name, value, key.to_owned())))
            }
            Err(fault) => faults.push(fault),
        }
    }
    made
}

fn login(settings: &impl Given) -> Result<Vec<Made<'_>>, ConfigFault> {
    let Some((text, key)) = settings.given("sasl.jaas.config") else { return Ok(Vec::new()) };
    // The text holds a password: no message may quote it.
    let unreadable = || {
        ConfigFault::new(
            key,
            "is not of the form `org.apache.kafka...LoginModule required username=\"..\" password=\"..\";` (one module)",
        )
    };
    let (module, options) = parse_jaas(text).ok_or_else(unreadable)?;
    let mechanism = settings
        .given("sasl.mechanism")
        .or_else(|| settings.given("sasl.mechanisms"))
        .map_or("GSSAPI", |(value, _)| value);
    let (fits, wanted): (&[&str], &[(&str, &'static str)]) = match module
        .rsplit('.')
        .next()
        .unwrap_or_default()
    {
        "PlainLoginModule" => (&["PLAIN"], &[("username", "sasl.username"), ("password", "sasl.password")]),
        "ScramLoginModule" => (
            &["SCRAM-SHA-256", "SCRAM-SHA-512"],
            &[("username", "sasl.username"), ("password", "sasl.password")],
        ),
        "OAuthBearerLoginModule" => (
            &["OAUTHBEARER"],
            &[
                ("clientId", "sasl.oauthbearer.client.id"),
                ("clientSecret", "sasl.oauthbearer.client.secret"),
                ("scope", "sasl.oauthbearer.scope"),
            ],
        ),
        "Krb5LoginModule" => {
            (&["GSSAPI"], &[("principal", "sasl.kerberos.principal"), ("keyTab", "sasl.kerberos.keytab")])
        }
        other => {
            let problem = format!(
                "login module {other} is not one of PlainLoginModule, ScramLoginModule, OAuthBearerLoginModule, Krb5LoginModule"
            );
            return Err(ConfigFault::new(key, problem));
        }
    };
    if !fits.iter().any(|fitting| fitting.eq_ignore_ascii_case(mechanism)) {
        let problem =
            format!("its login module is for {}, but `sasl.mechanism` is `{mechanism}`", fits.join(" or "));
        return Err(ConfigFault::new(key, problem));
    }
    let option = |name: &str| options.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone());
    let made: Vec<Made<'_>> =
        wanted.iter().filter_map(|(name, to)| Some((*to, option(name)?, key))).collect();
    let needs_both = matches!(fits, ["PLAIN"] | ["SCRAM-SHA-256", ..]);
    if needs_both && made.len() < 2 {
        return Err(ConfigFault::new(key, "lacks username or password"));
    }
    Ok(made)
}

/// `module flag name="value" ...;` -> module and options; `None` for anything else, and for more than one module.
fn parse_jaas(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let body = text.trim().strip_suffix(';')?;
    let mut tokens = jaas_tokens(body)?.into_iter();
    let module = tokens.next()?;
    let flag = tokens.next()?;
    if !["required", "requisite", "sufficient", "optional"].contains(&flag.to_ascii_lowercase().as_str()) {
        return None;
    }
    let options =
        tokens.map(|token| token.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    Some((module, options.collect::<Option<_>>()?))
}

/// Splits at spaces outside quotes; quotes are taken off, a backslash inside them escapes. A `;` outside quotes ends a module.
fn jaas_tokens(text: &str) -> Option<Vec<String>> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(_), '\\') => token.push(characters.next()?),
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, ';') => return None,
            (None, c) if c.is_whitespace() => {
                if !token.is_empty() {
                    tokens.push(std::mem::take(&mut token));
                }
            }
            (_, c) => token.push(c),
        }
    }
    if !token.is_empty() {
        tokens.push(token);
    }
    quote.is_none().then_some(tokens)
}

fn trust_store(settings: &impl Given) -> Result<Vec<Made<'_>>, ConfigFault> {
    let mut made = Vec::new();
    if let Some((certificates, key)) = settings.given("ssl.truststore.certificates") {
        made.push(("ssl.ca.pem", certificates.to_owned(), key));
    }
    if let Some((location, key)) = settings.given("ssl.truststore.location") {
        let kind = store_type(settings.given("ssl.truststore.type"), location);
        if kind != "PEM" {
            let problem = format!(
                "is a {kind} store, which cannot be read outside Java: export its certificates \
                 (keytool -list -rfc -keystore STORE > ca.pem), name that file and set `ssl.truststore.type` to PEM"
            );
            return Err(ConfigFault::new(key, problem));
        }
        if let Some((_, key)) = settings.given("ssl.truststore.password") {
            return Err(ConfigFault::new(key, "a PEM trust store has no password; remove it"));
        }
        made.push(("ssl.ca.location", location.to_owned(), key));
    }
    Ok(made)
}

fn key_store(settings: &impl Given) -> Result<Vec<Made<'_>>, ConfigFault> {
    let Some((location, key)) = settings.given("ssl.keystore.location") else { return Ok(Vec::new()) };
    let password = settings.given("ssl.keystore.password");
    match store_type(settings.given("ssl.keystore.type"), location).as_str() {
        "PEM" => match password {
            Some((_, key)) => Err(ConfigFault::new(
                key,
                "a PEM key store has no password of its own; set `ssl.key.password`",
            )),
            None => Ok(vec![
                ("ssl.certificate.location", location.to_owned(), key),
                ("ssl.key.location", location.to_owned(), key),
            ]),
        },
        "PKCS12" => {
            let password = password.map(|(value, key)| ("ssl.keystore.password", value.to_owned(), key));
            Ok(std::iter::once(("ssl.keystore.location", location.to_owned(), key)).chain(password).collect())
        }
        kind => {
            let problem = format!(
                "is a {kind} store, which cannot be read outside Java: convert it (keytool -importkeystore -srckeystore STORE \
                 -destkeystore store.p12 -deststoretype PKCS12), name that file and set `ssl.keystore.type` to PKCS12"
            );
            Err(ConfigFault::new(key, problem))
        }
    }
}

/// The type given, else by the file's ending, else Java's default.
fn store_type(given: Option<(&str, &str)>, location: &str) -> String {
    if let Some((kind, _)) = given {
        return kind.trim().to_ascii_uppercase();
    }
    let ending = location.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "pem" | "crt" | "cer" | "cert" => "PEM",
        "p12" | "pfx" | "pkcs12" => "PKCS12",
        _ => "JKS",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Map(BTreeMap<&'static str, &'static str>);

    impl Given for Map {
        fn given(&self, name: &str) -> Option<(&str, &str)> {
            self.0.get_key_value(name).map(|(key, value)| (*value, *key))
        }
    }

    fn run(settings: &[(&'static str, &'static str)]) -> (BTreeMap<&'static str, String>, Vec<String>) {
        let mut faults = Vec::new();
        let made = translate(&Map(settings.iter().copied().collect()), &mut faults);
        (
            made.into_iter().map(|(name, value, _)| (name, value)).collect(),
            faults.iter().map(ToString::to_string).collect(),
        )
    }

    const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"alice\" password=\"a \\\"b\\\";=c\";";

    #[test]
    fn plain_and_scram_logins_become_user_and_password() {
        let (made, faults) = run(&[("sasl.jaas.config", PLAIN), ("sasl.mechanism", "PLAIN")]);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!((made["sasl.username"].as_str(), made["sasl.password"].as_str()), ("alice", "a \"b\";=c"));
        let scram =
            "org.apache.kafka.common.security.scram.ScramLoginModule required\n username='bob' password=p ;";
        let (made, faults) = run(&[("sasl.jaas.config", scram), ("sasl.mechanism", "SCRAM-SHA-512")]);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!((made["sasl.username"].as_str(), made["sasl.password"].as_str()), ("bob", "p"));
    }

    #[test]
    fn other_logins() {
        let oauth = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=\"id\" clientSecret=\"s\";";
        let (made, _) = run(&[("sasl.jaas.config", oauth), ("sasl.mechanism", "OAUTHBEARER")]);
        assert_eq!(made["sasl.oauthbearer.client.secret"], "s");
        let kerberos = "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true keyTab=\"/k\" principal=\"p@R\";";
        let (made, _) = run(&[("sasl.jaas.config", kerberos)]);
        assert_eq!(
            (made["sasl.kerberos.keytab"].as_str(), made["sasl.kerberos.principal"].as_str()),
            ("/k", "p@R")
        );
    }

    /// A broken login text is the likeliest place for a password to leak into a log.
    #[test]
    fn faults_of_logins_never_quote_them() {
        let broken = [
            ("PlainLoginModule required username=\"alice\" password=\"hunter2\"", "PLAIN"),
            ("PlainLoginModule required username=\"alice\" password=\"hunter2;", "PLAIN"),
            ("PlainLoginModule username=\"alice\" password=\"hunter2\";", "PLAIN"),
            ("PlainLoginModule required password=\"hunter2\";", "PLAIN"),
            ("PlainLoginModule required username=\"a\" password=\"hunter2\"; Other required;", "PLAIN"),
            ("ScramLoginModule required username=\"a\" password=\"hunter2\";", "PLAIN"),
            ("com.example.Mine required password=\"hunter2\";", "PLAIN"),
        ];
        for (text, mechanism) in broken {
            let (made, faults) = run(&[("sasl.jaas.config", text), ("sasl.mechanism", mechanism)]);
            assert!(made.is_empty() && faults.len() == 1, "{text}: {made:?}");
            assert!(!faults[0].contains("hunter2"), "{}", faults[0]);
        }
    }

    #[test]
    fn stores_are_translated_where_they_can_be_read() {
        let (made, faults) = run(&[
            ("ssl.truststore.location", "/ca.pem"),
            ("ssl.keystore.location", "/me.p12"),
            ("ssl.keystore.password", "x"),
        ]);
        assert!(faults.is_empty(), "{faults:?}");
        let expected = [
            ("ssl.ca.location", "/ca.pem"),
            ("ssl.keystore.location", "/me.p12"),
            ("ssl.keystore.password", "x"),
        ];
        assert_eq!(made, expected.map(|(name, value)| (name, value.to_owned())).into());
        let (made, _) = run(&[
            ("ssl.keystore.location", "/me"),
            ("ssl.keystore.type", "pem"),
            ("ssl.truststore.certificates", "-----BEGIN"),
        ]);
        let expected =
            [("ssl.ca.pem", "-----BEGIN"), ("ssl.certificate.location", "/me"), ("ssl.key.location", "/me")];
        assert_eq!(made, expected.map(|(name, value)| (name, value.to_owned())).into());
    }

    #[test]
    fn java_key_stores_are_refused_with_the_command_that_converts_them() {
        let (_, faults) = run(&[("ssl.truststore.location", "/t.jks"), ("ssl.keystore.location", "/k.jks")]);
        assert!(faults[0].contains("keytool -list -rfc"), "{faults:?}");
        assert!(faults[1].contains("-deststoretype PKCS12"), "{faults:?}");
    }
}
