//! Statements of global tables and stores.

use kstreams::Materialized;
use serde_json::Value;

use super::catalogue;
use super::papi::{Place, store_at};
use super::processors::Spec;
use super::program::{Building, Built, Var, must, named, s, text_of};
use super::stateful::Kept;
use super::types::{AsKey, AsVal, OK, OV, Stream, StreamOf, Types, by_value, on};
use super::value::{Key, text};

impl Building {
    pub(super) fn global_table(&mut self, statement: &Value) -> Built {
        let (consumed, types) = self.consumed::<OV>(statement);
        let topic = s(statement, "topic");
        let materialized = match self.materialized::<OK, OV>(statement, types, Kept::Rows)? {
            Some(materialized) => materialized,
            None => {
                let table = self.builder.global_table_with(&topic, consumed, Materialized::default());
                return self.set(statement, Var::Global(table));
            }
        };
        let table = self.builder.global_table_with(&topic, consumed, materialized);
        self.set(statement, Var::Global(table))
    }

    pub(super) fn global_store(&mut self, statement: &Value) -> Built {
        let (consumed, _) = self.consumed::<OV>(statement);
        let (name, builder) = (s(statement, "name"), self.builder.clone());
        let mut unlogged = statement.clone();
        unlogged["logging"] = false.into();
        let processor = Spec::new(&s(statement, "processor"), vec![name.clone()]);
        let place = Place::Global(&builder, s(statement, "topic"), consumed, processor);
        let reader = store_at(&unlogged, place)?;
        self.program.stores.insert(name, reader);
        Ok(())
    }

    pub(super) fn global_join(
        &mut self,
        statement: &Value,
        stream: Stream,
        types: Types,
        table: &kstreams::GlobalKTable<OK, OV>,
    ) -> Built {
        let (key, spec) = (s(statement, "key"), s(statement, "fn"));
        let select = move |k: &OK, v: &OV| text_of(&key, k, v).map(Key::Text);
        let join = move |k: &OK, l: &OV, r: &OV| must(catalogue::joiner(&spec, text(k).as_deref(), l, r));
        let inner = statement["kind"] == "inner";
        let joined: Stream = on!(Stream / StreamOf, stream, it => {
            let select = move |k: &_, v: &_| select(&AsKey::key(k), &AsVal::val(v));
            if inner {
                let join = move |k: &_, l, r: OV| join(&AsKey::key(k), &AsVal::val(&l), &r);
                it.join_global_with(table, select, join, named(statement)).into()
            } else {
                let join = move |k: &_, l, r: Option<OV>| {
                    join(&AsKey::key(k), &AsVal::val(&l), &r.flatten())
                };
                it.left_join_global_with(table, select, join, named(statement)).into()
            }
        });
        self.set(statement, Var::Stream(joined, types.texts()))
    }
}
