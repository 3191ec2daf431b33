//! The kit's catalogue of processors, over the public Processor API.

use std::time::Duration;

use kstreams::processor::{
    FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord, InitContext, ProcessError, ProcessResult,
    Processor, ProcessorContext, PunctuationType, RecordMetadata, ScheduleId, StoreHandle,
};
use kstreams::state::{Record, SessionStore, Window, WindowStore, Windowed};

use super::catalogue;
use super::kv_handle::{self, KvHandle};
use super::types::{AsKey, AsVal, OK, OV};
use super::value::{Key, Val, show, text};

/// A processor of the catalogue by its text, `name:argument:argument`, with its connected stores in order.
#[derive(Clone)]
pub(super) struct Spec {
    parts: Vec<String>,
    stores: Vec<String>,
}

impl Spec {
    pub(super) fn new(text: &str, stores: Vec<String>) -> Self {
        Spec { parts: text.split(':').map(str::to_owned).collect(), stores }
    }

    fn name(&self) -> &str {
        &self.parts[0]
    }

    fn arg(&self, index: usize) -> &str {
        self.parts.get(index + 1).map_or("", String::as_str)
    }

    fn number(&self, index: usize) -> i64 {
        self.arg(index).parse().unwrap_or(0)
    }

    fn store(&self) -> &str {
        self.stores.first().map_or("", String::as_str)
    }

    fn failure(&self) -> ProcessError {
        ProcessError::from(catalogue::CatalogueError(self.parts.join(":")))
    }
}

fn val(text: impl Into<String>) -> OV {
    Some(Val::Text(text.into()))
}

fn metadata(metadata: &RecordMetadata) -> String {
    format!("@{}:{}:{}", metadata.topic.as_deref().unwrap_or("null"), metadata.partition, metadata.offset)
}

/// A processor of records with text keys; its results are texts.
pub(super) struct CatalogueProcessor {
    spec: Spec,
    kv: Option<KvHandle>,
    window: Option<StoreHandle<WindowStore<OK, Val>>>,
    session: Option<StoreHandle<SessionStore<OK, Val>>>,
    schedule: Option<ScheduleId>,
    seen: i64,
}

type Context<'a> = ProcessorContext<'a, OK, OV>;

impl CatalogueProcessor {
    pub(super) fn new(spec: Spec) -> Self {
        CatalogueProcessor { spec, kv: None, window: None, session: None, schedule: None, seen: 0 }
    }

    fn kv(&self) -> Result<&KvHandle, ProcessError> {
        self.kv.as_ref().ok_or_else(|| ProcessError::msg("the processor has no key-value store"))
    }

    fn read(&self, key: &OK, ctx: &mut Context<'_>) -> Result<Option<String>, ProcessError> {
        Ok(text(&self.kv()?.get(key, &mut ctx.stores())?))
    }

    fn write(&self, key: &OK, value: OV, time: i64, ctx: &mut Context<'_>) -> ProcessResult {
        self.kv()?.put(key, value, time, &mut ctx.stores())
    }

    fn on_store(&self, record: Record<OK, OV>, ctx: &mut Context<'_>) -> ProcessResult {
        let Record { key, value, timestamp, .. } = &record;
        match self.spec.name() {
            "store-put" => {
                self.write(key, value.clone(), *timestamp, ctx)?;
                ctx.pass_on(record)
            }
            "store-get" | "global-get" => {
                let read = self.read(key, ctx)?;
                let shown = format!("{}/{}", show(value), catalogue_show(read));
                ctx.forward(record.with_value(val(shown)))
            }
            "store-swap" => {
                let old = self.read(key, ctx)?;
                self.write(key, value.clone(), *timestamp, ctx)?;
                ctx.forward(record.with_value(old.map(Val::Text)))
            }
            _ => {
                for (key, value) in self.kv()?.all(&mut ctx.stores())? {
                    let value = text(&value).map(Val::Text);
                    ctx.forward(record.clone().with_key(key).with_value(value))?;
                }
                Ok(())
            }
        }
    }

    fn put_session(&self, record: Record<OK, OV>, ctx: &mut Context<'_>) -> ProcessResult {
        let Some(session) = &self.session else { return Err(ProcessError::msg("no session store")) };
        let window = Window { start: record.timestamp, end: record.timestamp + self.spec.number(0) };
        let windowed = Windowed::new(record.key.clone(), window);
        ctx.store(session).put_nullable(&windowed, record.value.as_ref())?;
        ctx.pass_on(record)
    }

    fn dedup(&self, record: Record<OK, OV>, ctx: &mut Context<'_>) -> ProcessResult {
        let Some(window) = &self.window else { return Err(ProcessError::msg("no window store")) };
        if record.key.is_none() {
            return Ok(());
        }
        let (time, ms) = (record.timestamp, self.spec.number(0));
        let mut store = ctx.store(window);
        let found = store.fetch(&record.key, (time - ms).max(0), time + ms)?.next().transpose()?;
        store.put(&record.key, &Val::Text(show(&record.value)), time)?;
        match found {
            None => ctx.pass_on(record),
            Some(_) => Ok(()),
        }
    }
}

fn catalogue_show(text: Option<String>) -> String {
    text.unwrap_or_else(|| "null".to_owned())
}

impl<V: AsVal> Processor<OK, V, OK, OV> for CatalogueProcessor {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        let kind = if self.spec.arg(0) == "stream" {
            PunctuationType::StreamTime
        } else {
            PunctuationType::WallClockTime
        };
        let every = |index| Duration::from_millis(u64::try_from(self.spec.number(index)).unwrap_or(0));
        match self.spec.name() {
            "punctuate-anchored" => {
                self.schedule = Some(ctx.schedule_anchored(self.spec.number(1), every(2), kind));
            }
            "punctuate-count" | "punctuate-once" => self.schedule = Some(ctx.schedule(every(1), kind)),
            _ => {}
        }
        match self.spec.name() {
            "dedup-within" => self.window = Some(ctx.state_store(self.spec.store())?),
            "session-put" => self.session = Some(ctx.state_store(self.spec.store())?),
            "global-get" => self.kv = Some(kv_handle::open(self.spec.arg(0), ctx)?),
            _ if !self.spec.stores.is_empty() => self.kv = Some(kv_handle::open(self.spec.store(), ctx)?),
            _ => {}
        }
        Ok(())
    }

    fn process(&mut self, record: Record<OK, V>, ctx: &mut Context<'_>) -> ProcessResult {
        let value = record.value.val();
        let mut record = record.with_value(value);
        let spec = &self.spec;
        let shown = || show(&record.value);
        match spec.name() {
            "dedup-within" => self.dedup(record, ctx),
            "store-put" | "store-get" | "global-get" | "store-swap" | "store-dump" => {
                self.on_store(record, ctx)
            }
            "session-put" => self.put_session(record, ctx),
            "punctuate-count" if record.key.is_none() => Ok(()),
            "punctuate-count" => {
                let count = catalogue::num(self.read(&record.key, ctx)?.as_deref()) + 1;
                self.write(&record.key, val(count.to_string()), record.timestamp, ctx)
            }
            "punctuate-once" => {
                self.seen += 1;
                ctx.pass_on(record)
            }
            "punctuate-anchored" => ctx.pass_on(record),
            "header-tagger" => {
                ctx.headers_mut().add(spec.arg(0), Some(spec.arg(1).as_bytes()));
                record.headers = ctx.headers().clone();
                ctx.pass_on(record)
            }
            "header-strip" => {
                ctx.headers_mut().remove(spec.arg(0));
                record.headers = ctx.headers().clone();
                ctx.pass_on(record)
            }
            "header-to-value" => {
                let value = match record.headers.last(spec.arg(0)).map(|header| header.value.clone()) {
                    None => None,
                    Some(Some(bytes)) => val(String::from_utf8_lossy(&bytes)),
                    // There the text is made of the bytes without a look whether there are any.
                    Some(None) => return Err(spec.failure()),
                };
                ctx.forward(record.with_value(value))
            }
            "ts-shift" => {
                let shifted = record.timestamp + spec.number(0);
                ctx.forward(record.with_timestamp(shifted))
            }
            "multi" => {
                for index in 0..spec.number(0) {
                    ctx.forward(record.clone().with_value(val(format!("{}#{index}", show(&record.value)))))?;
                }
                Ok(())
            }
            "drop" => Ok(()),
            "route" => {
                let marked = text(&record.value).is_some_and(|value| value.contains('!'));
                ctx.pass_on_to(spec.arg(if marked { 0 } else { 1 }), record)
            }
            "stream-time" => {
                let times =
                    format!("{}|{}|{}", shown(), ctx.current_stream_time(), ctx.current_system_time());
                ctx.forward(record.with_value(val(times)))
            }
            "metadata" => {
                let value = format!("{}{}", shown(), metadata(&ctx.record_metadata()));
                ctx.forward(record.with_value(val(value)))
            }
            "fail-if" if text(&record.value).as_deref() == Some(spec.arg(0)) => Err(spec.failure()),
            "fail-if" => ctx.pass_on(record),
            "versioned-get" => {
                let found = self.kv()?.get_as_of(&record.key, record.timestamp, &mut ctx.stores())?;
                let found = found.map(|(value, time)| format!("{}@{time}", show(&value)));
                let value = format!("{}/{}", shown(), catalogue_show(found));
                ctx.forward(record.with_value(val(value)))
            }
            other => Err(ProcessError::msg(format!("the catalogue has no processor {other}"))),
        }
    }

    fn punctuate(&mut self, schedule: ScheduleId, time: i64, ctx: &mut Context<'_>) -> ProcessResult {
        let of = |key: &str, value: String| Record::new(Some(Key::Text(key.to_owned())), val(value), time);
        match self.spec.name() {
            "punctuate-once" => {
                ctx.forward(of("once", self.seen.to_string()))?;
                ctx.cancel(schedule);
                Ok(())
            }
            "punctuate-anchored" => {
                let times = format!("{}|{}", ctx.current_stream_time(), ctx.current_system_time());
                ctx.forward(of("tick", format!("{times}{}", metadata(&ctx.record_metadata()))))
            }
            _ => {
                let entries = self.kv()?.all(&mut ctx.stores())?;
                ctx.forward(of("punctuate", entries.len().to_string()))?;
                for (key, value) in entries {
                    ctx.forward(Record::new(key, text(&value).map(Val::Text), time))?;
                }
                Ok(())
            }
        }
    }
}

/// A processor that keeps the key; its results are texts.
pub(super) struct FixedProcessor {
    spec: Spec,
    kv: Option<KvHandle>,
}

impl FixedProcessor {
    pub(super) fn new(spec: Spec) -> Self {
        FixedProcessor { spec, kv: None }
    }
}

impl<K: AsKey, V: AsVal> FixedKeyProcessor<K, V, OV> for FixedProcessor {
    fn init(&mut self, ctx: &mut InitContext<'_>) -> ProcessResult {
        if !self.spec.stores.is_empty() {
            self.kv = Some(kv_handle::open(self.spec.store(), ctx)?);
        }
        Ok(())
    }

    fn process(
        &mut self,
        record: FixedKeyRecord<K, V>,
        ctx: &mut FixedKeyProcessorContext<'_, K, OV>,
    ) -> ProcessResult {
        let (key, value) = (record.key().key(), record.value.val());
        let shown = show(&value);
        let record = record.with_value(value);
        match (self.spec.name(), &self.kv) {
            ("fixed-key-enricher", _) => {
                let value = format!("{shown}{}", metadata(&ctx.record_metadata()));
                ctx.forward(record.with_value(val(value)))
            }
            ("fixed-multi", _) => {
                for index in 0..self.spec.number(0) {
                    ctx.forward(record.clone().with_value(val(format!("{shown}#{index}"))))?;
                }
                Ok(())
            }
            ("fixed-store-get", Some(kv)) => {
                let read = catalogue_show(text(&kv.get(&key, &mut ctx.stores())?));
                ctx.forward(record.with_value(val(format!("{shown}/{read}"))))
            }
            ("fixed-running-count", Some(kv)) => {
                let count = catalogue::num(text(&kv.get(&key, &mut ctx.stores())?).as_deref()) + 1;
                kv.put(&key, val(count.to_string()), record.timestamp, &mut ctx.stores())?;
                ctx.forward(record.with_value(val(format!("{shown}#{count}"))))
            }
            (other, _) => Err(ProcessError::msg(format!("the catalogue has no processor {other}"))),
        }
    }
}
