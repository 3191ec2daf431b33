//! peek, for_each, print: looking on.
//!
//! Nothing is changed, repartitioned or stored. Null is shown as it is.

use std::fmt::Debug;
use std::sync::Arc;

use super::stateless::Effect;
use crate::options::Named;
use crate::stream::KStream;

impl<K, V> KStream<K, V>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Calls `f` with each record and passes it on as it is. `f` may be called again for the same record after a
    /// failure.
    ///
    /// - result: the record as it came
    /// - null: is shown as it is
    /// - repartition, state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// orders.peek(|customer, amount| println!("{customer} ordered {amount}")).to("checked-orders");
    /// # builder.build().unwrap();
    /// ```
    pub fn peek(&self, f: impl Fn(&K, &V) + Send + Sync + 'static) -> Self {
        self.peek_with(f, Named::default())
    }

    /// As [`peek`](Self::peek), with a name.
    pub fn peek_with(&self, f: impl Fn(&K, &V) + Send + Sync + 'static, named: impl Into<Named>) -> Self {
        let f = Arc::new(f);
        let upstream = self.stateless(&named.into(), "KSTREAM-PEEK-", Effect::Keeps, move |record, ctx| {
            f(&record.key, &record.value);
            ctx.pass_on(record)
        });
        KStream::new(upstream, self.key_serde.clone(), self.value_serde.clone())
    }

    /// Calls `f` with each record; the stream ends here. `f` may be called again for the same record after a failure.
    ///
    /// - result: none
    /// - null: is shown as it is
    /// - repartition, state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").for_each(|customer, amount| println!("{customer}: {amount}"));
    /// # builder.build().unwrap();
    /// ```
    pub fn for_each(&self, f: impl Fn(&K, &V) + Send + Sync + 'static) {
        self.for_each_with(f, Named::default());
    }

    /// As [`for_each`](Self::for_each), with a name.
    pub fn for_each_with(&self, f: impl Fn(&K, &V) + Send + Sync + 'static, named: impl Into<Named>) {
        self.end(f, "KSTREAM-FOREACH-", &named.into());
    }

    /// Prints each record to the standard output as `[label]: key, value`; the stream ends here. For a look while
    /// developing.
    ///
    /// - result: none
    /// - null: is shown as it is
    /// - repartition, state: none
    /// - late records: as any other
    ///
    /// ```
    /// # let builder = kstreams_dsl::StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").print("orders");
    /// # builder.build().unwrap();
    /// ```
    pub fn print(&self, label: &str)
    where
        K: Debug,
        V: Debug,
    {
        self.print_with(label, Named::default());
    }

    /// As [`print`](Self::print), with a name.
    pub fn print_with(&self, label: &str, named: impl Into<Named>)
    where
        K: Debug,
        V: Debug,
    {
        let label = label.to_owned();
        let print = move |key: &K, value: &V| println!("[{label}]: {key:?}, {value:?}");
        self.end(print, "KSTREAM-PRINTER-", &named.into());
    }

    fn end(&self, f: impl Fn(&K, &V) + Send + Sync + 'static, prefix: &str, named: &Named) {
        let f = Arc::new(f);
        self.stateless::<(), (), _>(named, prefix, Effect::Keeps, move |record, _| {
            f(&record.key, &record.value);
            Ok(())
        });
    }
}
