//! A join of two streams while the graph is built: what its three graph nodes write.

use std::any::Any;
use std::sync::Arc;

use kstreams_core::processor::ProcessorContext;
use kstreams_core::{Topology, TopologyError};
use kstreams_state_stores::{DynSerde, Record};

use super::processor::{JoinSide, KeepRecords, LeftSide, RightSide, SelfJoin, SideSpec};
use super::unmatched::{UnmatchedKeySerde, list_serde};
use super::{Combine, Kind, Names};
use crate::graph::Writing;
use crate::join_windows::JoinWindows;
use crate::op::stateless::FnProcessor;
use crate::options::JoinSettings;

/// See the module.
pub(super) struct JoinPlan<K, L, R, VO> {
    pub(super) kind: Kind,
    pub(super) combine: Combine<K, L, R, VO>,
    pub(super) windows: JoinWindows,
    pub(super) settings: JoinSettings,
    pub(super) names: Names,
    pub(super) serdes: (DynSerde<K>, DynSerde<L>, DynSerde<R>),
}

impl<K, L, R, VO> JoinPlan<K, L, R, VO>
where
    K: Clone + Send + 'static,
    L: Clone + Send + 'static,
    R: Clone + Send + 'static,
    VO: Clone + Send + 'static,
{
    pub(super) fn write_this_window(
        &self,
        topology: &mut Topology,
        writing: &Writing<'_>,
    ) -> Result<(), TopologyError> {
        let store = self.names.this_store.clone();
        let supplier = move || KeepRecords::new(&store);
        topology
            .add_processor::<K, L, K, L, _>(&self.names.this_windowed, supplier, writing.parents)
            .map(|_| ())
    }

    pub(super) fn write_other_window(
        &self,
        topology: &mut Topology,
        writing: &Writing<'_>,
    ) -> Result<(), TopologyError> {
        let store = self.names.other_store.clone();
        let supplier = move || KeepRecords::new(&store);
        topology
            .add_processor::<K, R, K, R, _>(&self.names.other_windowed, supplier, writing.parents)
            .map(|_| ())
    }

    /// The nodes that join and the stores, below the two nodes that keep the records.
    pub(super) fn write_join(
        &self,
        topology: &mut Topology,
        writing: &Writing<'_>,
    ) -> Result<(), TopologyError> {
        let Names { this_windowed, other_windowed, this_join, other_join, merge, .. } = &self.names;
        let (key, left, right) = &self.serdes;
        let JoinPlan { settings, windows, .. } = self;
        let window =
            |name| settings.window_store(name, settings.this_supplier.as_ref(), *windows, key, left, writing);
        if writing.is_self_join {
            self.write_self_join(topology)?;
            return topology
                .add_state_store(window(&self.names.this_store), &[this_windowed, merge])
                .map(|_| ());
        }
        let spec = Arc::new(self.side(&self.names.other_store, self.kind != Kind::Inner));
        let supplier = move || JoinSide::<LeftSide, K, L, R, VO>::new(Arc::clone(&spec));
        topology.add_processor::<K, L, K, VO, _>(this_join, supplier, &[this_windowed])?;
        let spec = Arc::new(self.side(&self.names.this_store, self.kind == Kind::Outer));
        let supplier = move || JoinSide::<RightSide, K, L, R, VO>::new(Arc::clone(&spec));
        topology.add_processor::<K, R, K, VO, _>(other_join, supplier, &[other_windowed])?;
        let pass = |record: Record<K, VO>, ctx: &mut ProcessorContext<'_, K, VO>| ctx.pass_on(record);
        let supplier = move || FnProcessor(pass);
        topology.add_processor::<K, VO, K, VO, _>(merge, supplier, &[this_join, other_join])?;
        topology.add_state_store(window(&self.names.this_store), &[this_windowed, other_join])?;
        let supplier = settings.other_supplier.as_ref();
        let other = settings.window_store(&self.names.other_store, supplier, *windows, key, right, writing);
        topology.add_state_store(other, &[other_windowed, this_join])?;
        if let Some(store) = &self.names.unmatched_store {
            let (keys, values) = (UnmatchedKeySerde(key.clone()), list_serde(left, right));
            let store = settings.unmatched_store(store, DynSerde::new(keys), DynSerde::new(values), writing);
            topology.add_state_store(store, &[this_join, other_join])?;
        }
        Ok(())
    }

    /// Both sides are one stream, so they have one type, too.
    fn write_self_join(&self, topology: &mut Topology) -> Result<(), TopologyError> {
        let combine: &dyn Any = &self.combine;
        let Some(combine) = combine.downcast_ref::<Combine<K, L, L, VO>>().cloned() else {
            return Err(TopologyError::Invalid(format!(
                "join {} reads one stream with values of two types: read it once, and map its values for one side",
                self.names.merge
            )));
        };
        let (store, windows) = (self.names.this_store.clone(), self.windows);
        let supplier = move || SelfJoin::new(&store, windows, Arc::clone(&combine));
        let Names { merge, this_windowed, .. } = &self.names;
        topology.add_processor::<K, L, K, VO, _>(merge, supplier, &[this_windowed]).map(|_| ())
    }

    fn side(&self, other_store: &str, stands_alone: bool) -> SideSpec<K, L, R, VO> {
        SideSpec {
            combine: Arc::clone(&self.combine),
            windows: self.windows,
            stands_alone,
            other_store: other_store.to_owned(),
            unmatched_store: self.names.unmatched_store.clone(),
            join: self.names.merge.clone(),
        }
    }
}
