//! Every kind of request in every state: the whole table of answers.

use kafka_protocol::ResponseError::{
    self, CoordinatorNotAvailable, FencedInstanceId, GroupIdNotFound, IllegalGeneration,
    InconsistentGroupProtocol, MemberIdRequired, NonEmptyGroup, RebalanceInProgress, UnknownMemberId,
};
use kafka_protocol::protocol::StrBytes;

use super::{
    Answer, Harness, committing, committing_alone, heartbeat, joining, joining_static, leaving, protocol,
    syncing, text,
};
use crate::group::state::GroupState::{self, CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};

const STATES: [GroupState; 5] = [Empty, PreparingRebalance, CompletingRebalance, Stable, Dead];

/// A group in the state, and the id of one of its two members, a follower (of a former member if it has none).
/// In PreparingRebalance the leader has joined again and the follower has not.
fn group_in(state: GroupState) -> (Harness, StrBytes) {
    let mut harness = Harness::new();
    let ids = match state {
        CompletingRebalance => harness.completing(2),
        _ => harness.stable(2),
    };
    match state {
        CompletingRebalance | Stable => {}
        PreparingRebalance => {
            let leader = joining("t").with_member_id(ids[0].clone());
            // The answer isn't looked at; the group doesn't mind a client that is gone.
            drop(harness.join(leader));
        }
        Empty | Dead => ids.iter().for_each(|id| assert_eq!(harness.leave(leaving(id)), None)),
    }
    if state == Dead {
        harness.input(|group, env| group.delete(env)).unwrap();
    }
    harness.assert_state(state);
    (harness, ids[1].clone())
}

/// What a request got: an answer without error, an error, or none yet.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Got {
    Fine,
    Error(ResponseError),
    Parked,
}

impl From<Option<ResponseError>> for Got {
    fn from(error: Option<ResponseError>) -> Self {
        error.map_or(Got::Fine, Got::Error)
    }
}

impl From<Result<(), ResponseError>> for Got {
    fn from(result: Result<(), ResponseError>) -> Self {
        result.err().into()
    }
}

fn got<T>(mut answer: Answer<T>, code: impl Fn(&T) -> i16) -> Got {
    match answer.0.try_recv() {
        Ok(response) => ResponseError::try_from_code(code(&response)).into(),
        Err(_) => Got::Parked,
    }
}

#[track_caller]
fn check(name: &str, expected: [Got; 5], event: impl Fn(&mut Harness, &StrBytes) -> Got) {
    for (state, expected) in STATES.into_iter().zip(expected) {
        let (mut harness, member) = group_in(state);
        let got = event(&mut harness, &member);
        assert_eq!(got, expected, "{name} in {state}");
    }
}

use Got::{Error, Fine, Parked};

#[test]
fn heartbeats() {
    check(
        "heartbeat of a member",
        [Error(UnknownMemberId), Error(RebalanceInProgress), Fine, Fine, Error(CoordinatorNotAvailable)],
        |harness, member| harness.heartbeat(member).into(),
    );
    check(
        "heartbeat of an older generation",
        [
            Error(UnknownMemberId),
            Error(IllegalGeneration),
            Error(IllegalGeneration),
            Error(IllegalGeneration),
            Error(CoordinatorNotAvailable),
        ],
        |harness, member| {
            let generation = harness.group.generation - 1;
            harness.heartbeat_of(&heartbeat(member, generation)).into()
        },
    );
    check(
        "heartbeat of a stranger",
        [
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(CoordinatorNotAvailable),
        ],
        |harness, _| harness.heartbeat(&text("stranger")).into(),
    );
}

#[test]
fn syncs() {
    let outcomes =
        [Error(UnknownMemberId), Error(RebalanceInProgress), Parked, Fine, Error(CoordinatorNotAvailable)];
    check("sync of a follower", outcomes, |harness, member| {
        let request = syncing(member, harness.group.generation);
        got(harness.sync(request), |response| response.error_code)
    });
    check(
        "sync of an older generation",
        [
            Error(UnknownMemberId),
            Error(IllegalGeneration),
            Error(IllegalGeneration),
            Error(IllegalGeneration),
            Error(CoordinatorNotAvailable),
        ],
        |harness, member| {
            let request = syncing(member, harness.group.generation - 1);
            got(harness.sync(request), |response| response.error_code)
        },
    );
    check(
        "sync with another protocol",
        [
            Error(UnknownMemberId),
            Error(InconsistentGroupProtocol),
            Error(InconsistentGroupProtocol),
            Error(InconsistentGroupProtocol),
            Error(CoordinatorNotAvailable),
        ],
        |harness, member| {
            let request =
                syncing(member, harness.group.generation).with_protocol_name(Some(text("roundrobin")));
            got(harness.sync(request), |response| response.error_code)
        },
    );
}

#[test]
fn joins() {
    check(
        "first join of a dynamic member",
        [
            Error(MemberIdRequired),
            Error(MemberIdRequired),
            Error(MemberIdRequired),
            Error(MemberIdRequired),
            Error(CoordinatorNotAvailable),
        ],
        |harness, _| got(harness.join(joining("t")), |response| response.error_code),
    );
    check(
        "join of a version without ids given out",
        [Fine, Parked, Parked, Parked, Error(CoordinatorNotAvailable)],
        |harness, _| got(harness.join_version(joining("t"), 3), |response| response.error_code),
    );
    check(
        "first join of a static member",
        [Fine, Parked, Parked, Parked, Error(CoordinatorNotAvailable)],
        |harness, _| got(harness.join(joining_static("i")), |response| response.error_code),
    );
    check(
        "join of a follower with the metadata it had",
        [Error(UnknownMemberId), Fine, Fine, Fine, Error(CoordinatorNotAvailable)],
        |harness, member| {
            let request = joining("t").with_member_id(member.clone());
            got(harness.join(request), |response| response.error_code)
        },
    );
    check(
        "join of a follower with new metadata",
        [Error(UnknownMemberId), Fine, Parked, Parked, Error(CoordinatorNotAvailable)],
        |harness, member| {
            let request = joining("other").with_member_id(member.clone());
            got(harness.join(request), |response| response.error_code)
        },
    );
    check(
        "join of a stranger with an id",
        [
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(CoordinatorNotAvailable),
        ],
        |harness, _| {
            let request = joining("t").with_member_id(text("stranger"));
            got(harness.join(request), |response| response.error_code)
        },
    );
    check(
        "join of a static member under a wrong id",
        [
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(CoordinatorNotAvailable),
        ],
        |harness, _| {
            let request = joining_static("i").with_member_id(text("stranger"));
            got(harness.join(request), |response| response.error_code)
        },
    );
    check(
        "join without a common protocol",
        [
            Error(MemberIdRequired),
            Error(InconsistentGroupProtocol),
            Error(InconsistentGroupProtocol),
            Error(InconsistentGroupProtocol),
            Error(CoordinatorNotAvailable),
        ],
        |harness, _| {
            let request = joining("t").with_protocols(vec![protocol("sticky", "t")]);
            got(harness.join(request), |response| response.error_code)
        },
    );
    check(
        "join with another protocol type",
        [
            Error(MemberIdRequired),
            Error(InconsistentGroupProtocol),
            Error(InconsistentGroupProtocol),
            Error(InconsistentGroupProtocol),
            Error(CoordinatorNotAvailable),
        ],
        |harness, _| {
            let request = joining("t").with_protocol_type(text("connect"));
            got(harness.join(request), |response| response.error_code)
        },
    );
    check(
        "join without protocols",
        [
            Error(InconsistentGroupProtocol),
            Error(InconsistentGroupProtocol),
            Error(InconsistentGroupProtocol),
            Error(InconsistentGroupProtocol),
            Error(CoordinatorNotAvailable),
        ],
        |harness, _| {
            got(harness.join(joining("t").with_protocols(Vec::new())), |response| response.error_code)
        },
    );
}

#[test]
fn leaves() {
    // A dead group is never asked: the coordinator looks the group up again. It has no members to leave.
    check(
        "leave of a member",
        [Error(UnknownMemberId), Fine, Fine, Fine, Error(UnknownMemberId)],
        |harness, member| harness.leave(leaving(member)).into(),
    );
    check("leave of a stranger", [Error(UnknownMemberId); 5], |harness, _| {
        harness.leave(leaving(&text("stranger"))).into()
    });
}

#[test]
fn commits() {
    check(
        "commit of a member",
        [Error(UnknownMemberId), Fine, Error(RebalanceInProgress), Fine, Error(CoordinatorNotAvailable)],
        |harness, member| {
            let request = committing("t", member, harness.group.generation);
            harness.commit(&request).into()
        },
    );
    check(
        "commit of an older generation",
        [
            Error(UnknownMemberId),
            Error(IllegalGeneration),
            Error(IllegalGeneration),
            Error(IllegalGeneration),
            Error(CoordinatorNotAvailable),
        ],
        |harness, member| {
            let request = committing("t", member, harness.group.generation - 1);
            harness.commit(&request).into()
        },
    );
    check(
        "commit without group management",
        [
            Fine,
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(CoordinatorNotAvailable),
        ],
        |harness, _| harness.commit(&committing_alone("t")).into(),
    );
    check(
        "commit under an instance id that nobody has",
        [
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(UnknownMemberId),
            Error(CoordinatorNotAvailable),
        ],
        |harness, member| {
            let request = committing("t", member, harness.group.generation)
                .with_group_instance_id(Some(text("nobody")));
            harness.commit(&request).into()
        },
    );
}

#[test]
fn fencing_comes_before_everything_else() {
    for state in [PreparingRebalance, CompletingRebalance, Stable] {
        let mut harness = Harness::new();
        let old = harness.join(joining_static("i")).now().member_id;
        harness.sync(super::assigning(std::slice::from_ref(&old), 1)).now();
        let new = harness.join(joining_static("i")).now().member_id;
        assert_ne!(old, new);
        match state {
            Stable => {}
            PreparingRebalance => drop(harness.join_version(joining("t"), 3)),
            _ => drop(harness.join(joining_static("i").with_member_id(new.clone()))),
        }
        harness.assert_state(state);
        let generation = harness.group.generation;
        let instance = Some(text("i"));
        let heartbeat = heartbeat(&old, generation - 1).with_group_instance_id(instance.clone());
        assert_eq!(harness.heartbeat_of(&heartbeat), Err(FencedInstanceId), "{state}");
        let commit = committing("t", &old, generation - 1).with_group_instance_id(instance.clone());
        assert_eq!(harness.commit(&commit), Some(FencedInstanceId), "{state}");
        let sync = syncing(&old, generation - 1).with_group_instance_id(instance.clone());
        assert_eq!(harness.sync(sync).error(), Some(FencedInstanceId), "{state}");
        let join = joining_static("i").with_member_id(old.clone());
        assert_eq!(harness.join(join).error(), Some(FencedInstanceId), "{state}");
        let leave = leaving(&old).with_group_instance_id(instance);
        assert_eq!(harness.leave(leave), Some(FencedInstanceId), "{state}");
    }
}

#[test]
fn deletions() {
    check(
        "deletion of the group",
        [Fine, Error(NonEmptyGroup), Error(NonEmptyGroup), Error(NonEmptyGroup), Error(GroupIdNotFound)],
        |harness, _| harness.input(|group, env| group.delete(env)).into(),
    );
    check(
        "deletion of an offset nobody uses",
        [Fine, Fine, Fine, Fine, Error(GroupIdNotFound)],
        |harness, _| {
            let asked = [(text("unused"), 0)];
            let outcome = harness.input(|group, env| group.delete_offsets(env, &asked));
            outcome.and_then(|results| results[0]).into()
        },
    );
    check(
        "deletion of an offset in use",
        [
            Fine,
            Error(ResponseError::GroupSubscribedToTopic),
            Error(ResponseError::GroupSubscribedToTopic),
            Error(ResponseError::GroupSubscribedToTopic),
            Error(GroupIdNotFound),
        ],
        |harness, _| {
            let asked = [(text("t"), 0)];
            let outcome = harness.input(|group, env| group.delete_offsets(env, &asked));
            outcome.and_then(|results| results[0]).into()
        },
    );
}
