"""The embedded broker's statements, one transaction at a time and with time as a number."""

import sqlite3
from collections.abc import Iterator

import pytest

from pillion.drivers.pubsub.sqlite import tables, upkeep
from pillion.drivers.pubsub.sqlite.tables import Claimed, Seat, Settled, Turn
from pillion.model.pubsub import Publication, Topic, Verdict

NOW = 1000.0
ROOMY = 1 << 40


class Broker:
    """The tables in memory, with a seat for each consumer of topic `t`."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        for statement in tables.LAYOUT[0]:
            self.db.execute(statement)

    def seat(self, owner: str = "me", consumer: str = "app", max_deliveries: int = 0) -> Seat:
        tables.add_owner(self.db, owner, 1, f"unix:{owner}", NOW)
        return Seat(*tables.join(self.db, owner, Topic("t"), consumer, NOW), max_deliveries)

    def publish(self, *data: str, key: str = "", expires: float | None = None, now: float = NOW) -> None:
        messages = [Publication("t", each.encode(), order_key=key, expires_at=expires) for each in data]
        tables.publish(self.db, messages, now, ROOMY)

    def turn(self, seat: Seat, *settled: Settled, free: int = 100, now: float = NOW) -> Turn:
        return tables.turn(self.db, seat, settled, free, now)

    def count(self, table: str) -> int:
        (count,) = self.db.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(count)


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.db.close()


def data(turn: Turn) -> list[str]:
    return [claimed.message.data.decode() for claimed in turn.claimed]


def acked(claimed: Claimed) -> Settled:
    return Settled(claimed, Verdict.ACK, NOW)


def failed(claimed: Claimed, due: float) -> Settled:
    return Settled(claimed, Verdict.RETRY, due)


def test_no_more_is_claimed_than_there_are_free_slots(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish("1", "2", "3")
    assert data(broker.turn(seat, free=2)) == ["1", "2"]
    assert data(broker.turn(seat, free=0)) == []
    assert data(broker.turn(seat)) == ["3"]


def test_two_seats_of_a_group_never_claim_the_same(broker: Broker) -> None:
    first, second = broker.seat("a"), broker.seat("b")
    broker.publish("1", "2", "3")
    assert data(broker.turn(first, free=1)) + data(broker.turn(second)) == ["1", "2", "3"]


def test_an_accepted_message_leaves_no_claim(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish("1")
    [claimed] = broker.turn(seat).claimed
    assert data(broker.turn(seat, acked(claimed))) == [] and broker.count("claims") == 0


def test_a_failed_message_is_due_before_new_ones_and_counts_its_attempts(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish("1", "2")
    [claimed] = broker.turn(seat, free=1).claimed
    waiting = broker.turn(seat, failed(claimed, NOW + 5), free=0)
    assert waiting.due == NOW + 5
    turn = broker.turn(seat, now=NOW + 5)
    assert data(turn) == ["1", "2"] and [one.message.attempt for one in turn.claimed] == [2, 1]


def test_an_abandoned_message_is_to_be_had_at_once_and_uncounted(broker: Broker) -> None:
    seat, other = broker.seat("a"), broker.seat("b")
    broker.publish("1")
    [claimed] = broker.turn(seat).claimed
    released = broker.turn(seat, Settled(claimed, Verdict.ABANDON, NOW), free=0)
    assert set(released.listeners) == {("unix:a", seat.group), ("unix:b", seat.group)}
    [again] = broker.turn(other).claimed
    assert again.message.attempt == 1


def test_what_a_dead_owner_held_is_released_and_counted(broker: Broker) -> None:
    dead, alive = broker.seat("dead"), broker.seat("alive")
    broker.publish("1")
    broker.turn(dead)
    assert data(broker.turn(alive)) == []
    assert tables.remove_owner(broker.db, "dead", NOW, failed=True) == [("unix:alive", alive.group)]
    [again] = broker.turn(alive).claimed
    assert again.message.attempt == 2 and tables.owners(broker.db) == ["alive"]


def test_a_late_failure_does_not_disturb_whoever_has_the_message_now(broker: Broker) -> None:
    late, other = broker.seat("late"), broker.seat("other")
    broker.publish("1")
    [claimed] = broker.turn(late).claimed
    tables.release_overdue(broker.db, [late.group], NOW + 1, NOW + 1)
    assert data(broker.turn(other, now=NOW + 1)) == ["1"]
    broker.turn(late, failed(claimed, NOW), free=0)
    assert data(broker.turn(late, now=NOW + 9)) == []


def test_an_expired_message_is_passed_over_and_leaves_nothing(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish("late", expires=NOW)
    broker.publish("in time", expires=NOW + 1)
    assert data(broker.turn(seat)) == ["in time"]
    assert broker.count("claims") == 1


def test_a_failed_message_that_expired_meanwhile_is_dropped(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish("1", expires=NOW + 5)
    [claimed] = broker.turn(seat).claimed
    broker.turn(seat, failed(claimed, NOW + 1), free=0)
    assert data(broker.turn(seat, now=NOW + 6)) == [] and broker.count("claims") == 0


def test_a_message_behind_its_key_waits_while_others_pass(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish("a1", "a2", key="a")
    broker.publish("b1", key="b")
    broker.publish("free")
    first = broker.turn(seat)
    assert data(first) == ["a1", "b1", "free"]
    assert data(broker.turn(seat)) == []
    assert data(broker.turn(seat, acked(first.claimed[0]))) == ["a2"]


def test_a_failed_message_keeps_its_key_busy(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish("a1", "a2", key="a")
    [claimed] = broker.turn(seat).claimed
    assert data(broker.turn(seat, failed(claimed, NOW + 5))) == []
    assert data(broker.turn(seat, now=NOW + 5)) == ["a1"]


def test_a_hot_key_does_not_park_without_bound(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish(*map(str, range(tables.PARKED + 500)), key="hot")
    broker.publish("other")
    assert data(broker.turn(seat)) == ["0"]
    broker.turn(seat)
    assert broker.count("claims") == tables.PARKED + 1


def test_every_message_of_a_hot_key_comes_in_order(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish(*map(str, range(tables.PARKED + 500)), key="hot")
    order, claimed = [], broker.turn(seat).claimed
    while claimed:
        [one] = claimed
        order.append(one.message.data.decode())
        claimed = broker.turn(seat, acked(one)).claimed
    assert order == list(map(str, range(tables.PARKED + 500)))


def test_many_expired_messages_do_not_end_the_walk_for_good(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish(*map(str, range(3000)), expires=NOW)
    broker.publish("alive")
    turns = [broker.turn(seat, free=10) for _ in range(4)]
    assert [turn.more for turn in turns] == [True, True, False, False]
    assert data(turns[2]) == ["alive"]


def test_a_turn_carries_no_more_than_its_bytes(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish(*["x" * (tables.BYTES // 2)] * 4)
    turn = broker.turn(seat)
    assert len(turn.claimed) == 3 and turn.more


def test_too_many_failures_bury_a_message_once(broker: Broker) -> None:
    seat = broker.seat(max_deliveries=2)
    broker.publish("poison", "next", key="k")
    [first] = broker.turn(seat).claimed
    [second] = broker.turn(seat, failed(first, NOW)).claimed
    assert second.attempts == 1
    assert data(broker.turn(seat, failed(second, NOW), failed(second, NOW))) == ["next"]
    rows = broker.db.execute("SELECT data, consumer, attempts, reason FROM dead").fetchall()
    assert rows == [(b"poison", "app", 2, "maxDeliveries")]


def test_a_message_that_keeps_killing_its_consumer_is_buried(broker: Broker) -> None:
    broker.publish("poison")
    for name in ("first", "second"):
        assert data(broker.turn(broker.seat(name, max_deliveries=2))) == ["poison"]
        tables.remove_owner(broker.db, name, NOW, failed=True)
    assert data(broker.turn(broker.seat("third", max_deliveries=2))) == []
    assert broker.count("dead") == 1


# Upkeep.


def test_old_messages_go_only_when_every_group_is_done_with_them(broker: Broker) -> None:
    done, behind = broker.seat(consumer="done"), broker.seat(consumer="behind")
    broker.publish("1", "2")
    for claimed in broker.turn(done).claimed:
        broker.turn(done, acked(claimed))
    assert not upkeep.delete_old(broker.db, NOW + 1) and broker.count("messages") == 2
    [first] = broker.turn(behind, free=1).claimed
    upkeep.delete_old(broker.db, NOW + 1)
    assert broker.count("messages") == 2, "the one that is out is still wanted"
    broker.turn(behind, acked(first), free=0)
    upkeep.delete_old(broker.db, NOW + 1)
    assert broker.count("messages") == 1


def test_young_messages_stay_for_groups_that_are_yet_to_come(broker: Broker) -> None:
    broker.publish("1")
    upkeep.delete_old(broker.db, NOW - 1)
    assert data(broker.turn(broker.seat())) == ["1"]


def test_old_messages_nobody_ever_asked_for_go(broker: Broker) -> None:
    broker.publish("1")
    upkeep.delete_old(broker.db, NOW + 1)
    assert broker.count("messages") == 0


def test_a_group_nobody_sits_in_is_forgotten_and_one_with_a_seat_is_not(broker: Broker) -> None:
    broker.seat("here", consumer="kept")
    gone = broker.seat("away", consumer="gone")
    broker.publish("1")
    broker.turn(gone)
    tables.remove_owner(broker.db, "away", NOW, failed=False)
    assert upkeep.forget_groups(broker.db, NOW + 1) == [("t", "gone")]
    assert broker.count("groups") == 1 and broker.count("claims") == 0


def test_a_crowded_file_gives_up_what_is_done_with_and_nothing_else(broker: Broker) -> None:
    seat = broker.seat()
    broker.publish(*["x" * 4000] * 600)
    for claimed in broker.turn(seat, free=550).claimed:
        broker.turn(seat, acked(claimed), free=0)
    while upkeep.delete_done(broker.db, 0):
        pass
    assert broker.count("messages") == 50


def test_a_full_file_refuses_and_says_why(broker: Broker) -> None:
    with pytest.raises(tables.Full, match="maxSize"):
        tables.publish(broker.db, [Publication("t", b"1")], NOW, 1)
    assert broker.count("messages") == 0
