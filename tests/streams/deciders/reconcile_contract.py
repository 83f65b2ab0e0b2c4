"""What a decider may rely on, on every store: one class that each adapter's tests inherit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from streams.deciders.port import Decision
from streams.deciders.reconcile import reconcile
from streams.store.port import Store
from tests.streams.deciders.toy import Loop, RollsBack, Seen
from tests.streams.store.storing import IDENTITY


class Lost(Exception):
    """What the tests raise where a process would die."""


class Misspelt(RollsBack):
    """Its events are refused: a field of them has no name that anybody knows."""

    def judge(self, seen: Seen) -> Any:
        for decision in super().judge(seen):
            yield decision._replace(data={**decision.data, "whi": "a slip"})


class ReconcileContract:
    """Inherit, and give a fixture `store` with an empty store of `IDENTITY`, open for writing."""

    @pytest.fixture
    def loop(self, store: Store) -> Loop:
        """A version was deployed and disliked."""
        loop = Loop(IDENTITY, store)
        loop.disliked("m")
        return loop

    def test_the_difference_is_sent_once(self, loop: Loop) -> None:
        """What the views show as decided is not sent again, by whoever looks next."""
        done = reconcile(RollsBack(), loop.store, loop.send)
        loop.catch_up()
        assert [decision.id for decision in done.sent] == loop.rolled_back()
        for _ in range(2):
            assert reconcile(RollsBack(), loop.store, loop.send) == ([], [], None)
        assert len(loop.sent) == 1

    def test_another_snapshot_is_another_difference(self, loop: Loop) -> None:
        """Only what is new is sent; the same subject for another cause is another decision."""
        reconcile(RollsBack(), loop.store, loop.send)
        loop.catch_up()
        loop.disliked("other", thumbs=2)
        assert not reconcile(RollsBack(), loop.store, loop.send).sent
        loop.disliked("third")
        loop.say("model.deployed", "d-again", model="m", model_version="1")
        done = reconcile(RollsBack(), loop.store, loop.send)
        assert [decision.subject for decision in done.sent] == [("m", "1"), ("third", "1")]
        loop.catch_up()
        assert len(loop.rolled_back()) == len(set(loop.rolled_back())) == 3

    def test_a_crash_before_the_views_show_it_sends_the_same_event(self, loop: Loop) -> None:
        """Sent and not folded yet, or the answer lost: it is sent again, and counts once."""

        def lost(event: dict[str, Any]) -> str | None:
            loop.send(event)
            raise Lost

        with pytest.raises(Lost):
            reconcile(RollsBack(), loop.store, lost)
        reconcile(RollsBack(), loop.store, loop.send)
        assert loop.sent[0] == loop.sent[1]
        loop.catch_up()
        assert len(loop.rolled_back()) == 1
        assert loop.letters() == 0

    def test_two_that_decide_at_once_decide_the_same(self, loop: Loop) -> None:
        """Both looked at views without the event: two copies in the log, one in the views."""
        first, second = RollsBack(), RollsBack()
        seen = first.read(loop.store), second.read(loop.store)
        (one,), (other,) = first.judge(seen[0]), second.judge(seen[1])
        assert one == other
        loop.send(one.event())
        loop.send(other.event())
        loop.catch_up()
        assert loop.rolled_back() == [one.id]
        assert loop.letters() == 0

    def test_what_was_refused_is_a_persons_to_mend(self, loop: Loop) -> None:
        """It is a dead letter once, and not sent again by itself; a person may ask for it."""
        (refused,) = reconcile(Misspelt(), loop.store, loop.send).refused
        assert refused[1].code == "unknown_field"
        assert refused[1].position == loop.end()
        loop.catch_up()
        assert reconcile(Misspelt(), loop.store, loop.send) == ([], [], None)
        assert loop.letters() == len(loop.sent) == 1
        assert len(reconcile(Misspelt(), loop.store, loop.send, refused_too=True).refused) == 1

    def test_one_that_is_refused_keeps_no_other_back(self, loop: Loop) -> None:
        """The others of the same look are sent."""
        loop.disliked("other")

        class Once(Misspelt):
            def judge(self, seen: Seen) -> Any:
                bad, good = Misspelt.judge(self, seen), RollsBack.judge(self, seen)
                return [next(iter(bad)), list(good)[1]]

            def decided(self, views: Any, decisions: Collection[Decision]) -> set[str]:
                return set()

        done = reconcile(Once(), loop.store, loop.send)
        assert [each.subject[0] for each in done.sent] == ["other"]
        assert [each.subject[0] for each, _ in done.refused] == ["m"]
