//! Transfers between accounts. Money is neither made nor lost at any committed moment.
//!
//! Accounts belong to branches, and a branch is the key of the transfers from it: within a branch one processor debits and
//! credits in one step, on one store, and writes both new balances. What goes to another branch is debited here, and credited
//! there after a repartition topic; exactly-once makes the two one.
//!
//! Under exactly-once a transfer that an account can't pay is refused. Under the other guarantees accounts may be overdrawn: balances
//! are off there once something was done twice, and whether a transfer is refused must not depend on that, else nobody could say which
//! credits have to be there.

use std::collections::{BTreeMap, BTreeSet};

use kstreams::prelude::*;

use super::{Facts, Input, Names, Row, Scenario, Store, StoreKind, check_each};
use crate::random::Random;
use crate::settings::Guarantee;

pub struct Bank;

const BRANCHES: u64 = 16;
/// Per branch.
const ACCOUNTS: u64 = 8;
/// What every account has before its first transfer. Not much: some transfers shall be refused.
const OPENING: i64 = 500;
const BALANCES: &str = "balances";
const RECEIVED: &str = "received";

/// "number amount from to", accounts as "branch/account".
struct Transfer<'a> {
    number: &'a str,
    amount: i64,
    from: &'a str,
    to: &'a str,
}

impl<'a> Transfer<'a> {
    fn parse(text: &'a str) -> Transfer<'a> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [number, amount, from, to] = parts[..] else { panic!("no transfer: {text}") };
        Transfer { number, amount: amount.parse().unwrap(), from, to }
    }

    fn is_local(&self) -> bool {
        branch(self.from) == branch(self.to)
    }
}

fn branch(account: &str) -> &str {
    account.split_once('/').unwrap().0
}

type Balances = StoreHandle<KeyValueStore<String, i64>>;

/// Debits, and credits where the account is of the same branch. Gives on what is written to the ledger: "number account balance",
/// and what is to be credited elsewhere: the transfer under the key of the other branch.
struct Move {
    balances: Option<Balances>,
    may_overdraw: bool,
}

impl Processor<String, String, String, String> for Move {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.balances = Some(ctx.state_store(BALANCES)?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<String, String>,
        ctx: &mut ProcessorContext<'_, String, String>,
    ) -> ProcessResult {
        let balances = self.balances.as_ref().unwrap();
        let transfer = Transfer::parse(&record.value);
        let mut store = ctx.store(balances);
        let from = store.get(&transfer.from.to_owned())?.unwrap_or(OPENING) - transfer.amount;
        if from < 0 && !self.may_overdraw {
            let refused = format!("{} {} refused", transfer.number, transfer.from);
            return ctx.forward(Record::new(record.key.clone(), refused, record.timestamp));
        }
        store.put(&transfer.from.to_owned(), &from)?;
        let to = if transfer.is_local() {
            let to = store.get(&transfer.to.to_owned())?.unwrap_or(OPENING) + transfer.amount;
            store.put(&transfer.to.to_owned(), &to)?;
            Some(to)
        } else {
            None
        };
        let entry = |account: &str, balance: i64| format!("{} {account} {balance}", transfer.number);
        let debit = entry(transfer.from, from);
        ctx.forward(Record::new(record.key.clone(), debit, record.timestamp))?;
        let (key, value) = match to {
            Some(to) => (record.key.clone(), entry(transfer.to, to)),
            None => (branch(transfer.to).to_owned(), record.value.clone()),
        };
        ctx.forward(Record::new(key, value, record.timestamp))
    }
}

/// Credits what came from another branch: "number account received", with all that the account has ever received so.
#[derive(Default)]
struct Credit(Option<Balances>);

impl Processor<String, String, String, String> for Credit {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.0 = Some(ctx.state_store(RECEIVED)?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<String, String>,
        ctx: &mut ProcessorContext<'_, String, String>,
    ) -> ProcessResult {
        let received = self.0.as_ref().unwrap();
        let transfer = Transfer::parse(&record.value);
        let mut store = ctx.store(received);
        let sum = store.get(&transfer.to.to_owned())?.unwrap_or(0) + transfer.amount;
        store.put(&transfer.to.to_owned(), &sum)?;
        let entry = format!("{} {} {sum}", transfer.number, transfer.to);
        ctx.forward(Record::new(record.key.clone(), entry, record.timestamp))
    }
}

/// A transfer has four words, an entry of a ledger three.
fn is_transfer(value: &str) -> bool {
    value.split(' ').count() == 4
}

impl Scenario for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["transfers"]
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["ledger", "credits"]
    }

    fn repartitions(&self) -> &'static [&'static str] {
        &["remote"]
    }

    fn stores(&self) -> &'static [Store] {
        &[Store { name: BALANCES, kind: StoreKind::Plain }, Store { name: RECEIVED, kind: StoreKind::Plain }]
    }

    fn topology(&self, names: &Names, guarantee: Guarantee) -> Topology {
        let may_overdraw = guarantee != Guarantee::ExactlyOnce;
        let builder = StreamsBuilder::new();
        builder.add_state_store(Stores::key_value::<String, i64>(BALANCES));
        builder.add_state_store(Stores::key_value::<String, i64>(RECEIVED));
        let moved = builder
            .stream::<String, String>(names.topic("transfers"))
            .process::<String, String, _>(move || Move { balances: None, may_overdraw }, &[BALANCES]);
        moved.filter(|_, value| !is_transfer(value)).to(names.topic("ledger"));
        moved
            .filter(|_, value| is_transfer(value))
            .repartition_with(Repartitioned::named("remote"))
            .process::<String, String, _>(Credit::default, &[RECEIVED])
            .to(names.topic("credits"));
        builder.build().unwrap()
    }

    fn input(&self, random: &mut Random, n: u64, now: i64) -> Input {
        let from = random.below(BRANCHES);
        let to = if random.chance(50) { from } else { random.below(BRANCHES) };
        let account = |branch: u64, number: u64| format!("b{branch}/a{number}");
        let (first, second) = (random.below(ACCOUNTS), random.below(ACCOUNTS - 1));
        // Another account, should it be the same branch.
        let second = if second >= first { second + 1 } else { second };
        let amount = 1 + random.below(100);
        let value = format!("{n} {amount} {} {}", account(from, first), account(to, second));
        Input { topic: "transfers", key: Some(format!("b{from}")), value: Some(value), timestamp: now }
    }

    fn check(&self, facts: &Facts) -> Vec<String> {
        let mut books = Books::default();
        facts.rows("transfers").iter().for_each(|row| books.enter(row));
        if facts.guarantee != Guarantee::ExactlyOnce {
            return check_entries(facts);
        }
        let mut wrong = check_each(facts, "branch", &books.ledger, &facts.by_key("ledger", Row::text));
        wrong.extend(check_moments(facts.rows("ledger"), &books.local));
        wrong.extend(check_sums(facts.rows("credits"), &books.amounts));
        let seen = facts.by_key("credits", |row| number_and_account(row.text()));
        wrong.extend(check_each(facts, "credits of", &books.credits_in_the_order_of(&seen), &seen));
        wrong
    }
}

/// Balances differ after something was done twice or not at all. That each transfer has its debit and its credit does not.
fn check_entries(facts: &Facts) -> Vec<String> {
    let count = |topic: &str| {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        facts
            .rows(topic)
            .iter()
            .for_each(|row| *times.entry(number_and_account(row.text())).or_default() += 1);
        times
    };
    let (ledger, credits) = (count("ledger"), count("credits"));
    if facts.guarantee == Guarantee::AtMostOnce {
        let double = ledger.iter().chain(&credits).filter(|(_, times)| **times > 1);
        return double.map(|(entry, times)| format!("entry {entry} is there {times} times")).collect();
    }
    let mut wrong = Vec::new();
    for row in facts.rows("transfers") {
        let transfer = Transfer::parse(row.text());
        let debit = format!("{} {}", transfer.number, transfer.from);
        let credit = format!("{} {}", transfer.number, transfer.to);
        let arrived = if transfer.is_local() { &ledger } else { &credits };
        let sent = ledger.get(debit.as_str()).copied().unwrap_or(0);
        let received = arrived.get(credit.as_str()).copied().unwrap_or(0);
        if sent == 0 || received == 0 {
            let text = row.text();
            wrong.push(format!(
                "of transfer {text} the debit is there {sent} times, the credit {received} times"
            ));
        }
    }
    wrong
}

/// "number account" of an entry.
fn number_and_account(entry: &str) -> &str {
    entry.rsplit_once(' ').unwrap().0
}

/// What a clerk has who reads the transfers one after the other.
#[derive(Default)]
struct Books {
    balances: BTreeMap<String, i64>,
    /// Entries by branch.
    ledger: BTreeMap<String, Vec<String>>,
    /// "number account" by branch.
    credits: BTreeMap<String, Vec<String>>,
    /// Numbers of transfers with two entries in the ledger.
    local: BTreeSet<String>,
    amounts: BTreeMap<String, i64>,
}

impl Books {
    fn enter(&mut self, row: &Row) {
        let transfer = Transfer::parse(row.text());
        let entries = self.ledger.entry(row.key.clone()).or_default();
        let from = self.balances.entry(transfer.from.to_owned()).or_insert(OPENING);
        if *from < transfer.amount {
            entries.push(format!("{} {} refused", transfer.number, transfer.from));
            return;
        }
        *from -= transfer.amount;
        entries.push(format!("{} {} {from}", transfer.number, transfer.from));
        if transfer.is_local() {
            let to = self.balances.entry(transfer.to.to_owned()).or_insert(OPENING);
            *to += transfer.amount;
            entries.push(format!("{} {} {to}", transfer.number, transfer.to));
            self.local.insert(transfer.number.to_owned());
        } else {
            self.amounts.insert(transfer.number.to_owned(), transfer.amount);
            let credit = format!("{} {}", transfer.number, transfer.to);
            self.credits.entry(branch(transfer.to).to_owned()).or_default().push(credit);
        }
    }

    /// The same credits, each branch's in the order in which they are in the output; what is not there comes last.
    fn credits_in_the_order_of(&self, seen: &BTreeMap<&str, Vec<&str>>) -> BTreeMap<String, Vec<String>> {
        let mut credits = self.credits.clone();
        for (branch, credits) in &mut credits {
            let order = seen.get(branch.as_str()).map(Vec::as_slice).unwrap_or_default();
            let place: BTreeMap<&str, usize> = order.iter().copied().zip(0..).collect();
            credits.sort_by_key(|credit| place.get(credit.as_str()).copied().unwrap_or(usize::MAX));
        }
        credits
    }
}

/// Whenever a transaction ends (a marker leaves a gap in the offsets), no transfer is half done: the sum of a branch is what
/// it was before, less what went elsewhere.
fn check_moments(ledger: &[Row], local: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut half: Option<&str> = None;
    let mut before: Option<(i32, i64)> = None;
    for row in ledger {
        let number = row.text().split_once(' ').unwrap().0;
        let follows = before == Some((row.partition, row.offset - 1));
        if let (Some(open), false) = (half, follows) {
            wrong.push(format!("transfer {open} is half done at offset {} of {}", row.offset, row.partition));
            half = None;
        }
        half = match half {
            Some(open) if open == number => None,
            _ if local.contains(number) && !row.text().ends_with("refused") => Some(number),
            _ => None,
        };
        before = Some((row.partition, row.offset));
    }
    wrong.extend(half.map(|open| format!("transfer {open} is half done at the end")));
    wrong
}

/// Each account has received just what was sent to it, step by step.
fn check_sums(credits: &[Row], amounts: &BTreeMap<String, i64>) -> Vec<String> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in credits {
        let (number_and_account, received) = row.text().rsplit_once(' ').unwrap();
        let (number, account) = number_and_account.split_once(' ').unwrap();
        let sum = sums.entry(account).or_default();
        *sum += amounts.get(number).copied().unwrap_or(0);
        if received != sum.to_string() {
            wrong.push(format!("{account} has received {received} with {number}, not {sum}"));
        }
    }
    wrong
}
