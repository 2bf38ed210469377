"""The algebra of presence: whatever happens in a while, everyone ends with the truth, newcomers too."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from relayd.rooms.presence import Changes, PresenceLog
from relayd.wire.ids import UserId

USERS = st.sampled_from(["a", "b", "c", "d"])
ACTS = st.one_of(
    st.tuples(st.sampled_from(["move", "change"]), USERS),
    st.tuples(st.just("list"), st.just("")),
    st.tuples(st.just("tell"), st.just("")),
)


class Observer:
    """A client: keeps users and how they look by id, from the list it was given and what it is told."""

    def __init__(self, looks: dict[str, int]) -> None:
        self.sees = dict(looks)

    def hear(self, changes: Changes, looks: dict[str, int]) -> None:
        for user_id in changes.left:
            self.sees.pop(user_id, None)
        assert set(changes.changed) <= set(self.sees), "only somebody known can have changed"
        for user_id in (*changes.joined, *changes.changed):
            self.sees[user_id] = looks[user_id]


@given(st.sets(USERS), st.lists(ACTS, max_size=40))
@example(set(), [("move", "a"), ("list", ""), ("move", "a")])  # came, was listed, went: no ghost stays
@example({"a"}, [("move", "a"), ("list", ""), ("move", "a")])  # went, was not listed, came back: nobody is missing
@example({"a"}, [("move", "a"), ("list", ""), ("move", "a"), ("list", ""), ("move", "a")])
@example({"a"}, [("move", "a"), ("list", ""), *[("move", "a")] * 3])
@example(set(), [("move", "a"), ("list", ""), *[("move", "a")] * 3])
def test_everyone_ends_with_the_truth(present, acts):
    """Those who were here from the start, and those who were given a list at any moment."""
    looks = dict.fromkeys(sorted(present), 0)
    log, observers = PresenceLog(), [Observer(looks)]
    for stamp, (act, user_id) in enumerate([*acts, ("tell", "")], 1):
        if act == "list":
            log.list_given()
            observers.append(Observer(looks))
        elif act == "tell":
            hidden = {user_id for user_id in "abcd" if log.hides(UserId(user_id))}
            changes = log.take()
            assert hidden == {*changes.joined, *changes.changed}
            for observer in observers:
                observer.hear(changes, looks)
                assert observer.sees == looks
        elif act == "move" and user_id in looks:
            del looks[user_id]
            log.leave(user_id)
        elif act == "move":
            looks[user_id] = stamp
            log.join(user_id)
        elif user_id in looks:
            looks[user_id] = stamp
            log.change(user_id)


@given(st.sets(USERS), st.lists(ACTS.filter(lambda act: act[0] in ("move", "change")), max_size=40))
def test_nothing_is_told_twice_or_in_vain(present, acts):
    """A user is named once; without newcomers, `joined` and `left` are the difference between before and now."""
    here, log, touched = set(present), PresenceLog(), set()
    for act, user_id in acts:
        touched.add(user_id)
        if act == "change":
            if user_id in here:
                log.change(user_id)
        elif user_id in here:
            here.remove(user_id)
            log.leave(user_id)
        else:
            here.add(user_id)
            log.join(user_id)
    anything = bool(log)
    changes = log.take()
    named = [*changes.joined, *changes.left, *changes.changed]
    assert len(named) == len(set(named))
    assert set(changes.joined) == here - present
    assert set(changes.left) == present - here
    assert set(changes.changed) <= here & present & touched
    assert anything == bool(named)
    assert not log
    assert log.take() == Changes([], [], [])


def test_coming_and_going_unseen_is_not_told():
    log = PresenceLog()
    log.join("a")
    log.change("a")
    log.leave("a")
    assert not log


def test_going_and_coming_back_is_a_change():
    """A reload that took the user's leave: the others never heard of it."""
    log = PresenceLog()
    log.leave("a")
    log.join("a")
    assert log.take() == Changes([], [], ["a"])


def test_change_of_somebody_new_is_part_of_the_news():
    log = PresenceLog()
    log.join("a")
    log.change("a")
    assert log.take() == Changes(["a"], [], [])


def test_change_of_somebody_gone_is_no_news():
    log = PresenceLog()
    log.change("a")
    log.leave("a")
    assert log.take() == Changes([], ["a"], [])


def test_order_is_that_of_events():
    log = PresenceLog()
    for user_id in "cab":
        log.join(user_id)
    for user_id in "zyx":
        log.leave(user_id)
    log.change("n")
    log.change("m")
    assert log.take() == Changes(["c", "a", "b"], ["z", "y", "x"], ["n", "m"])


def test_lists_of_an_earlier_while_do_not_count():
    log = PresenceLog()
    log.list_given()
    log.take()
    log.join("a")
    log.leave("a")
    assert not log
