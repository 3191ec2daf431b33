//! The five processors of a foreign-key join: two beside the left table, three beside the right one.

use kstreams_core::processor::{InitContext, ProcessResult, Processor, ProcessorContext, StoreHandle};
use kstreams_state_stores::{DynSerde, Record, Serde, TimestampedKeyValueStore, ValueAndTimestamp};

use super::messages::{CombinedKey, Instruction, PseudoTopics, Response, RowHash, Subscription, prefix_of};
use super::murmur3::hash128;
use super::{Combine, Extract};
use crate::table::{Change, ValueGetter};

type Subscriptions<KO, K> = TimestampedKeyValueStore<CombinedKey<KO, K>, Subscription<K>>;

/// Hashes the rows of the left table.
pub(super) struct RowHasher<V> {
    serde: DynSerde<V>,
    topics: PseudoTopics,
    buffer: Vec<u8>,
}

impl<V: 'static> RowHasher<V> {
    pub(super) fn new(serde: &DynSerde<V>, topics: &PseudoTopics) -> Self {
        RowHasher { serde: serde.clone(), topics: topics.clone(), buffer: Vec::new() }
    }

    fn init(&mut self, ctx: &InitContext<'_>) {
        self.serde = self.serde.for_topic(&self.topics.named(ctx.application_id(), "vh"), false);
    }

    fn hash(&mut self, row: Option<&V>) -> ProcessResult<RowHash> {
        let Some(row) = row else { return Ok(None) };
        self.buffer.clear();
        self.serde.serialize(row, &mut self.buffer)?;
        Ok(Some(hash128(&self.buffer)))
    }
}

/// Foreign keys and what each is told.
type Instructions<KO> = Vec<(Option<KO>, Instruction)>;

/// Turns updates of the left table into subscriptions (`SubscriptionSendProcessorSupplier`).
pub(super) struct Subscribe<K, V, KO> {
    pub(super) extract: Extract<K, V, KO>,
    pub(super) foreign_key: DynSerde<KO>,
    pub(super) topics: PseudoTopics,
    pub(super) hasher: RowHasher<V>,
    pub(super) is_left: bool,
    /// Late updates of the table are dropped: it is a versioned one.
    pub(super) drops_late: bool,
    /// Subscriptions say the row's partition, where its result goes; instances of an older release cannot read that.
    pub(super) tells_partition: bool,
}

impl<K: 'static, V: 'static, KO: 'static> Subscribe<K, V, KO> {
    fn bytes(&self, key: Option<&KO>) -> ProcessResult<Option<Vec<u8>>> {
        let Some(key) = key else { return Ok(None) };
        let mut bytes = Vec::new();
        let present = self.foreign_key.serialize_nullable(key, &mut bytes)?;
        Ok(present.then_some(bytes))
    }

    /// What has to be said to which foreign keys about an update, and whether the row is one without foreign key that an
    /// inner join leaves out.
    fn instructions(&self, key: &K, change: &Change<V>) -> ProcessResult<(Instructions<KO>, bool)> {
        use Instruction::{Answer, AnswerIfPresent, Delete, DeleteAndAnswer};
        let old = change.old.as_ref().and_then(|old| (self.extract)(key, old));
        let new = change.new.as_ref().and_then(|new| (self.extract)(key, new));
        if change.old.is_none() && change.new.is_none() {
            return Ok((Vec::new(), false));
        }
        let moved = self.bytes(old.as_ref())? != self.bytes(new.as_ref())?;
        if self.is_left {
            // The row's own partition has to be told of its result even where it refers to nothing.
            let left = old.filter(|_| moved).map(|old| (Some(old), Delete));
            return Ok((left.into_iter().chain([(new, Answer)]).collect(), false));
        }
        let left_out = change.new.is_some() && new.is_none();
        let instructions = match (old, new) {
            (None, None) => Vec::new(),
            (Some(old), None) => vec![(Some(old), DeleteAndAnswer)],
            // A result of the former foreign key must be taken back if the new one has none.
            (Some(old), Some(new)) if moved => vec![(Some(old), Delete), (Some(new), Answer)],
            (_, Some(new)) => vec![(Some(new), AnswerIfPresent)],
        };
        Ok((instructions, left_out))
    }
}

impl<K, V, KO> Processor<K, Change<V>, Option<KO>, Subscription<K>> for Subscribe<K, V, KO>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    KO: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.hasher.init(ctx);
        self.foreign_key = self.foreign_key.for_topic(&self.topics.named(ctx.application_id(), "fk"), true);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut ProcessorContext<'_, Option<KO>, Subscription<K>>,
    ) -> ProcessResult {
        let Record { key: primary_key, value: change, timestamp, headers } = record;
        if self.drops_late && !change.is_latest {
            ctx.drop_record("late update of a versioned table in a foreign-key join");
            return Ok(());
        }
        let (instructions, left_out) = self.instructions(&primary_key, &change)?;
        if left_out {
            ctx.drop_record("null foreign key");
        }
        if instructions.is_empty() {
            return Ok(());
        }
        let hash = self.hasher.hash(change.new.as_ref())?;
        let partition = self.tells_partition.then(|| ctx.record_metadata().partition);
        for (key, instruction) in instructions {
            let primary_key = primary_key.clone();
            let value = Subscription { hash, instruction, primary_key, partition };
            ctx.forward(Record { key, value, timestamp, headers: headers.clone() })?;
        }
        Ok(())
    }
}

/// Keeps subscriptions beside the right table (`SubscriptionReceiveProcessorSupplier`); drops what has nothing to say.
pub(super) struct KeepSubscriptions<KO, K> {
    store_name: String,
    store: Option<StoreHandle<Subscriptions<KO, K>>>,
}

impl<KO, K> KeepSubscriptions<KO, K> {
    pub(super) fn new(store: &str) -> Self {
        KeepSubscriptions { store_name: store.to_owned(), store: None }
    }
}

impl<KO, K> Processor<Option<KO>, Subscription<K>, Option<KO>, Subscription<K>> for KeepSubscriptions<KO, K>
where
    KO: Clone + Send + 'static,
    K: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.store = Some(ctx.state_store(&self.store_name)?);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<Option<KO>, Subscription<K>>,
        ctx: &mut ProcessorContext<'_, Option<KO>, Subscription<K>>,
    ) -> ProcessResult {
        let Some(store) = &self.store else { return Ok(()) };
        let instruction = record.value.instruction;
        match record.key.clone() {
            None if instruction != Instruction::Answer => {
                ctx.drop_record("null foreign key");
                return Ok(());
            }
            None => {}
            Some(foreign) => {
                let key = CombinedKey { foreign, primary: record.value.primary_key.clone() };
                let (value, timestamp) = (record.value.clone(), record.timestamp);
                let ends = matches!(instruction, Instruction::Delete | Instruction::DeleteAndAnswer);
                let value = (!ends).then_some(ValueAndTimestamp { value, timestamp });
                ctx.store(store).put_nullable(&key, value.as_ref())?;
            }
        }
        ctx.forward(record)
    }
}

/// Answers a subscription with the right table's value of now (`SubscriptionJoinProcessorSupplier`).
pub(super) struct AnswerSubscription<KO, VO> {
    pub(super) foreign: Box<dyn ValueGetter<KO, VO>>,
}

impl<KO, VO, K> Processor<Option<KO>, Subscription<K>, K, Response<VO>> for AnswerSubscription<KO, VO>
where
    KO: Clone + Send + 'static,
    VO: Clone + Send + 'static,
    K: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.foreign.init(ctx)
    }

    fn process(
        &mut self,
        record: Record<Option<KO>, Subscription<K>>,
        ctx: &mut ProcessorContext<'_, K, Response<VO>>,
    ) -> ProcessResult {
        let Record { key, value: subscription, timestamp, headers } = record;
        let found = match &key {
            Some(key) => self.foreign.get(key, &mut ctx.stores())?,
            None => None,
        };
        let timestamp = found.as_ref().map_or(timestamp, |found| timestamp.max(found.timestamp));
        let value = match (subscription.instruction, found) {
            (Instruction::Delete, _) | (Instruction::AnswerIfPresent, None) => return Ok(()),
            (Instruction::DeleteAndAnswer, _) => None,
            (_, found) => found.map(|found| found.value),
        };
        let Subscription { hash, primary_key, partition, .. } = subscription;
        ctx.forward(Record {
            key: primary_key,
            value: Response { hash, value, partition },
            timestamp,
            headers,
        })
    }
}

/// How many subscribers are read at once: any number may refer to one row, and what is read has to be out of the store
/// before it is forwarded.
const PAGE: usize = 1024;

/// Tells all subscribers of an update of the right table (`ForeignTableJoinProcessorSupplier`).
pub(super) struct TellSubscribers<KO, K> {
    pub(super) store_name: String,
    pub(super) foreign_key: DynSerde<KO>,
    pub(super) topics: PseudoTopics,
    pub(super) drops_late: bool,
    pub(super) store: Option<StoreHandle<Subscriptions<KO, K>>>,
}

impl<KO, K, VO> Processor<KO, Change<VO>, K, Response<VO>> for TellSubscribers<KO, K>
where
    KO: Clone + Send + 'static,
    K: Clone + Send + 'static,
    VO: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.store = Some(ctx.state_store(&self.store_name)?);
        self.foreign_key = self.foreign_key.for_topic(&self.topics.named(ctx.application_id(), "fk"), true);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<KO, Change<VO>>,
        ctx: &mut ProcessorContext<'_, K, Response<VO>>,
    ) -> ProcessResult {
        let Record { key, value: change, timestamp, headers } = record;
        if self.drops_late && !change.is_latest {
            ctx.drop_record("late update of a versioned table in a foreign-key join");
            return Ok(());
        }
        let Some(store) = &self.store else { return Ok(()) };
        let mut prefix = Vec::new();
        prefix_of(&self.foreign_key, &key, &mut prefix)?;
        let mut pages = ctx.store(store).pages(&prefix);
        while !pages.ended() {
            for (key, found) in ctx.store(store).next_page(&mut pages, PAGE)? {
                let Subscription { hash, partition, .. } = found.value;
                let value = Response { hash, value: change.new.clone(), partition };
                ctx.forward(Record { key: key.primary, value, timestamp, headers: headers.clone() })?;
            }
        }
        Ok(())
    }
}

/// Joins answers with the rows that asked (`ResponseJoinProcessorSupplier`).
pub(super) struct JoinResponse<K, V, VO, VR> {
    pub(super) rows: Box<dyn ValueGetter<K, V>>,
    pub(super) hasher: RowHasher<V>,
    pub(super) combine: Combine<V, VO, VR>,
}

impl<K, V, VO, VR> Processor<K, Response<VO>, K, Option<VR>> for JoinResponse<K, V, VO, VR>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    VO: Clone + Send + 'static,
    VR: Clone + Send + 'static,
{
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        self.hasher.init(ctx);
        self.rows.init(ctx)
    }

    fn process(
        &mut self,
        record: Record<K, Response<VO>>,
        ctx: &mut ProcessorContext<'_, K, Option<VR>>,
    ) -> ProcessResult {
        let Record { key, value: response, timestamp, headers } = record;
        let row = self.rows.get(&key, &mut ctx.stores())?.map(|row| row.value);
        if self.hasher.hash(row.as_ref())? != response.hash {
            ctx.drop_record("the row changed since it asked for its foreign value; another answer follows");
            return Ok(());
        }
        let value = (self.combine)(row, response.value);
        ctx.forward(Record { key, value, timestamp, headers })
    }
}
