from warrener.testing.simulated_queue import Consumer, Entry, SimulatedQueue


class Taker:
    """A channel that counts what it is given."""

    def __init__(self, room: bool = True) -> None:
        self.room = room
        self.got: list[Entry] = []

    def has_room(self, consumer: Consumer) -> bool:
        return self.room

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        self.got.append(entry)


def test_messages_leave_in_the_order_they_came_and_go_back_to_their_place() -> None:
    queue = SimulatedQueue("q", "quorum", None)
    for number in (5, 3, 9):
        queue.enqueue(number, b"")
    first, second = queue.take(), queue.take()
    assert first is not None
    assert second is not None
    queue.put_back(second)
    queue.put_back(first)
    assert [entry.number for entry in queue.ready] == [5, 3, 9]
    assert [entry.redelivered for entry in queue.ready] == [True, True, False]


def test_it_delivers_only_to_those_with_room_and_only_while_it_is_up() -> None:
    queue = SimulatedQueue("q", "quorum", None)
    full, free = Taker(room=False), Taker()
    queue.consumers = [Consumer(taker, "t", queue, False, 0) for taker in (full, free)]
    assert not queue.deliverable()  # nothing there
    queue.enqueue(1, b"")
    assert queue.deliverable()
    queue.up = False
    assert not queue.deliverable()
    queue.up = True
    queue.deliver_one(lambda limit: limit - 1)
    assert [entry.number for entry in free.got] == [1]
    queue.enqueue(2, b"")
    free.room = False
    assert not queue.deliverable()


def test_a_classic_queue_of_a_dead_node_is_forgotten_one_of_a_hanging_node_is_not() -> None:
    queue = SimulatedQueue("c", "classic", None)
    queue.up = False
    assert not queue.exists
    queue.hangs = True
    assert queue.exists
    quorum = SimulatedQueue("q", "quorum", None)
    quorum.up = False
    assert quorum.exists
