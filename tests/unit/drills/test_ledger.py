"""The books are right: held against a brute-force oracle; every way of being wrong is caught."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.drills.ledger import Duplicates, Fault, Gap, Ledger, Verdict
from warrener.drills.messages import MessageNumber
from warrener.drills.notes import Note, NoteKind, TroubleKind

Line = tuple[str, str, Note]
"""Client, its queue, what it noted."""

P1, P2, C1, C2, C3 = "p1", "p2", "c1", "c2", "c3"
QUEUE = {P1: "q1", P2: "q2", C1: "q1", C2: "q1", C3: "q2"}
CONSUMERS = {"q1": (C1, C2), "q2": (C3,)}


@dataclass(frozen=True)
class Told:
    """One message's life."""

    number: MessageNumber
    publisher: str
    published: int
    answer: str  # acked, refused, returned, none
    answered: int
    deliveries: tuple[tuple[int, str, bool, bool], ...]  # at, consumer, marked, acked


def lines_of(messages: list[Told]) -> list[Line]:
    """What the clients of these messages write down, each in order of time."""
    lines: list[Line] = []

    def add(client: str, at: int, kind: NoteKind, number: MessageNumber, marked: bool) -> None:
        lines.append((client, QUEUE[client], Note(at, kind, number, marked, code=312)))

    for one in messages:
        add(one.publisher, one.published, NoteKind.PUBLISHED, one.number, False)
        if one.answer == "returned":
            add(one.publisher, one.answered, NoteKind.RETURNED, one.number, False)
        if one.answer in ("acked", "returned"):
            add(one.publisher, one.answered, NoteKind.CONFIRMED, one.number, False)
        if one.answer == "refused":
            add(one.publisher, one.answered, NoteKind.REFUSED, one.number, False)
        for at, consumer, marked, acked in one.deliveries:
            add(consumer, at, NoteKind.DELIVERED, one.number, marked)
            if acked:
                add(consumer, at, NoteKind.ACKED, one.number, False)
    return sorted(lines, key=lambda line: line[2].at)


def books_of(lines: list[Line], faults: list[Fault] | None = None) -> Ledger:
    ledger = Ledger()
    for fault in faults or []:
        ledger.fault(fault)
    for line in lines:
        ledger.take(*line)
    return ledger


@st.composite
def lives(draw: st.DrawFn, *, healthy: bool = False) -> list[Told]:
    """Messages with times all their own, so that an oracle needs no rule for ties."""
    count = draw(st.integers(1, 12))
    times = draw(st.permutations(range(1, 8 * count + 1)))
    free = iter(times)
    found = []
    for index in range(count):
        publisher = draw(st.sampled_from([P1, P2]))
        published, answered = sorted((next(free), next(free)))
        answer = (
            "acked"
            if healthy
            else draw(
                st.sampled_from(["acked"] * 5 + ["refused"] * 1 + ["returned"] * 1 + ["none"] * 2)
            )
        )
        consumers = CONSUMERS[QUEUE[publisher]]
        many = 1 if healthy else draw(st.sampled_from([0, 1, 1, 1, 2, 3]))
        deliveries = tuple(
            (
                next(free),
                draw(st.sampled_from(consumers)),
                not healthy and draw(st.booleans()),
                healthy or draw(st.booleans()),
            )
            for _ in range(many)
        )
        found.append(
            Told(MessageNumber(index + 1), publisher, published, answer, answered, deliveries)
        )
    return found


@st.composite
def by_file(draw: st.DrawFn, lines: list[Line]) -> list[Line]:
    """The same notes as a reader of one file after the other meets them, a piece at a time."""
    files: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        files[line[0]].append(line)
    found: list[Line] = []
    while any(files.values()):
        client = draw(st.sampled_from(sorted(name for name, left in files.items() if left)))
        number = draw(st.integers(1, len(files[client])))
        found += files[client][:number]
        del files[client][:number]
    return found


FAULTS = st.lists(
    st.tuples(st.integers(0, 90), st.integers(1, 20)).map(
        lambda pair: Fault("broken", pair[0], pair[0] + pair[1])
    ),
    max_size=2,
)


@settings(max_examples=150)
@given(lives(), FAULTS, st.data())
def test_the_verdict_agrees_with_a_plain_count(
    messages: list[Told], faults: list[Fault], data: st.DataObject
) -> None:
    lines = data.draw(by_file(lines_of(messages)))
    verdict = books_of(lines, faults).verdict()
    redelivered = replayed = 0
    unexplained = []
    for one in messages:
        extra = len(one.deliveries) - 1
        unmarked = [d for d in one.deliveries if not d[2]]
        until = one.answered if one.answer in ("acked", "returned") else 10**9
        waited = any(
            instant in range(one.published, min(until, 200) + 1)
            for fault in faults
            for instant in range(int(fault.begin), int(fault.end) + 1)
        )
        for _ in range(extra):
            if len(unmarked) > 1:
                unmarked.pop()
                if waited:
                    replayed += 1
                else:
                    unexplained.append(one.number)
            else:
                redelivered += 1
    assert verdict.duplicates.redelivered == redelivered
    assert verdict.duplicates.replayed == replayed
    assert [m.number for m in verdict.duplicates.unexplained] == unexplained
    assert [m.number for m in verdict.lost] == [
        m.number for m in messages if m.answer == "acked" and not m.deliveries
    ]
    assert [m.number for m in verdict.unanswered] == [
        m.number for m in messages if m.answer == "none"
    ]
    assert [m.number for m in verdict.returned] == [
        m.number for m in messages if m.answer == "returned"
    ]
    assert verdict.published == len(messages)
    assert verdict.confirmed == sum(m.answer == "acked" for m in messages)
    assert verdict.refused == sum(m.answer == "refused" for m in messages)
    assert verdict.delivered == sum(bool(m.deliveries) for m in messages)
    assert verdict.marked == sum(d[2] for m in messages for d in m.deliveries)
    assert verdict.unacked == sum(not d[3] for m in messages for d in m.deliveries)
    assert verdict.unexpected == ()
    assert verdict.reordered == plain_reordered(messages)


def plain_reordered(messages: list[Told]) -> int:
    count = 0
    for publisher in (P1, P2):
        for consumer in QUEUE:
            firsts = [
                (min(m.deliveries)[0], m.number)
                for m in messages
                if m.publisher == publisher
                and m.deliveries
                and min(m.deliveries)[1] == consumer
                and not any(d[2] for d in m.deliveries)
            ]
            numbers = [number for _, number in sorted(firsts)]
            count += sum(a > b for a, b in pairwise(numbers))
    return count


@settings(max_examples=100)
@given(lives(), st.integers(0, 50), st.integers(0, 50), st.data())
def test_gaps_agree_with_a_plain_count(
    messages: list[Told], since: int, length: int, data: st.DataObject
) -> None:
    """For each answer: since the answer before it, or since something waited again."""
    ledger = books_of(data.draw(by_file(lines_of(messages))))
    last = max(note.at for _, _, note in lines_of(messages))
    found = {gap.client: gap.seconds for gap in ledger.gaps(since, since + length)}
    for publisher in (P1, P2):
        mine = [m for m in messages if m.publisher == publisher]
        if not mine:
            assert publisher not in found
            continue
        answers = sorted(m.answered for m in mine if m.answer != "none")
        longest = 0.0
        for before, at in zip([0, *answers], [*answers, last], strict=True):
            waiting = [
                max(before, m.published)
                for m in mine
                if m.published < at and (m.answer == "none" or m.answered > before)
            ]
            if waiting and min(waiting) <= since + length and at >= since:
                longest = max(longest, at - min(waiting))
        assert found[publisher] == longest


@given(lives(healthy=True), st.data())
def test_a_healthy_history_has_no_objections(messages: list[Told], data: st.DataObject) -> None:
    ledger = books_of(data.draw(by_file(lines_of(messages))))
    verdict = ledger.verdict()
    assert verdict.objections(duplicates=False) == ()
    assert ledger.outstanding() == 0
    assert ledger.unacked() == 0
    assert verdict.confirmed == verdict.delivered == len(messages)


def broken(lines: list[Line], how: str, at: int) -> tuple[list[Line], MessageNumber]:
    """A healthy history with one thing wrong in it."""
    kinds = {
        "delivery dropped": NoteKind.DELIVERED,
        "delivered twice": NoteKind.DELIVERED,
        "never published": NoteKind.PUBLISHED,
        "confirm invented": NoteKind.CONFIRMED,
        "confirm dropped": NoteKind.CONFIRMED,
        "ack invented": NoteKind.ACKED,
        "ack dropped": NoteKind.ACKED,
        "another's queue": NoteKind.DELIVERED,
    }
    chosen = [index for index, (_, _, note) in enumerate(lines) if note.kind is kinds[how]]
    index = chosen[at % len(chosen)]
    client, queue, note = lines[index]
    rest = lines[:index] + lines[index + 1 :]
    match how:
        case "delivery dropped":
            rest = [line for line in rest if line[2].number != note.number or line[0][0] == "p"]
        case "never published":
            rest = [line for line in rest if line[2].number != note.number or line[0][0] == "c"]
        case "delivered twice" | "confirm invented" | "ack invented":
            rest = [*lines, lines[index]]
        case "another's queue":
            rest = [*lines[:index], (client, queue + " no more", note), *lines[index + 1 :]]
    return rest, note.number


@pytest.mark.parametrize(
    ("how", "objection"),
    [
        ("delivery dropped", "lost: Message(number={n},"),
        ("delivered twice", "duplicate, unexplained: Message(number={n},"),
        ("never published", "message {n} delivered, never published"),
        ("confirm invented", "message {n} confirmed, answered before"),
        ("confirm dropped", "never answered: Message(number={n},"),
        ("ack invented", "message {n} acked 2 times, delivered 1 times"),
        ("ack dropped", "never acked: 1 deliveries"),
        ("another's queue", "message {n} of"),
    ],
)
@given(messages=lives(healthy=True), at=st.integers(0, 100))
def test_whatever_is_wrong_is_objected_to(
    how: str, objection: str, messages: list[Told], at: int
) -> None:
    lines, number = broken(lines_of(messages), how, at)
    objections = books_of(lines).verdict().objections(duplicates=True)
    assert any(objection.format(n=number) in one for one in objections), objections


def verdict_of(*notes: tuple[str, Note]) -> Verdict:
    return books_of([(client, QUEUE[client], note) for client, note in notes]).verdict()


ONE = MessageNumber(1)


def test_troubles_are_told_by_kind_and_in_order() -> None:
    late = Note(9, NoteKind.TROUBLE, trouble=TroubleKind.EXCEPTION, text="late")
    soon = Note(3, NoteKind.TROUBLE, trouble=TroubleKind.CONNECTION_CLOSED, text="320")
    verdict = verdict_of((C1, late), (P1, soon))
    assert [trouble.client for trouble in verdict.troubles] == [P1, C1]
    assert verdict.count(TroubleKind.EXCEPTION) == 1
    assert verdict.count(TroubleKind.CHANNEL_CLOSED) == 0
    assert verdict.objections(duplicates=True) == (
        "connection closed: p1 at 3.000: 320",
        "exception: c1 at 9.000: late",
    )


def test_damage_a_foreign_confirm_and_a_refusal_are_objected_to() -> None:
    verdict = verdict_of(
        (P1, Note(1, NoteKind.PUBLISHED, ONE)),
        (P2, Note(2, NoteKind.CONFIRMED, ONE)),
        (P1, Note(3, NoteKind.REFUSED, ONE)),
        (C1, Note(4, NoteKind.DAMAGED, text="half a message")),
    )
    assert verdict.objections(duplicates=True) == (
        "unexpected: p2 at 2.000: message 1 confirmed, never published",
        "unexpected: c1 at 4.000: damaged: half a message",
        "refused: 1",
    )


def test_a_number_used_twice_is_unexpected() -> None:
    verdict = verdict_of(
        (P1, Note(1, NoteKind.PUBLISHED, ONE)), (P1, Note(2, NoteKind.PUBLISHED, ONE))
    )
    assert [one.text for one in verdict.unexpected] == ["message 1 published again"]


def test_duplicates_of_messages_of_a_fault_are_accepted_or_not() -> None:
    lines = [
        (P1, "q1", Note(1, NoteKind.PUBLISHED, ONE)),
        (P1, "q1", Note(5, NoteKind.CONFIRMED, ONE)),
        *[(C1, "q1", Note(6, kind, ONE)) for kind in (NoteKind.DELIVERED, NoteKind.ACKED)] * 2,
    ]
    during = books_of(lines, [Fault("kill", 4, 9)]).verdict()
    assert during.duplicates == Duplicates(0, 1, ())
    assert during.objections(duplicates=True) == ()
    assert during.objections(duplicates=False) == ("duplicates: 0 redelivered, 1 replayed",)
    after = books_of(lines, [Fault("kill", 5.5, 9)]).verdict()
    assert [one.number for one in after.duplicates.unexplained] == [ONE]


def test_a_publisher_that_waits_for_nothing_has_no_gap() -> None:
    ledger = books_of(
        [
            (P1, "q1", Note(at, kind, MessageNumber(number)))
            for at, kind, number in (
                (1, NoteKind.PUBLISHED, 1),
                (2, NoteKind.CONFIRMED, 1),
                (9, NoteKind.PUBLISHED, 2),
                (12, NoteKind.CONFIRMED, 2),
            )
        ]
    )
    assert ledger.gaps() == (Gap(P1, 9, 3),)
    assert ledger.gaps(until=8) == (Gap(P1, 1, 1),)
    assert ledger.gaps(since=20) == (Gap(P1, 20, 0),)


def test_what_is_never_answered_makes_a_gap_until_the_end() -> None:
    verdict = verdict_of((P1, Note(1, NoteKind.PUBLISHED, ONE)), (C1, Note(31, NoteKind.ENDED)))
    assert verdict.longest_gap == Gap(P1, 1, 30)
    assert "longest gap 30.000 s at 1.000 (p1)" in verdict.summary()
    assert Ledger().verdict().longest_gap is None
    assert "longest gap none" in Ledger().verdict().summary()


# -- clients that connect again by themselves


def test_disconnects_are_counted_and_no_objection() -> None:
    verdict = verdict_of(
        (C1, Note(9, NoteKind.DISCONNECTED, text="late")),
        (P1, Note(3, NoteKind.DISCONNECTED, text="320")),
    )
    assert [(one.client, one.text) for one in verdict.disconnects] == [(P1, "320"), (C1, "late")]
    assert verdict.objections(duplicates=False) == ()
    assert "disconnects 2, republished 0" in verdict.summary()


def test_a_copy_of_what_its_publisher_sent_again_is_explained_without_a_fault() -> None:
    lines = [
        (P1, Note(1, NoteKind.PUBLISHED, ONE)),
        (P1, Note(2, NoteKind.REPUBLISHED, ONE)),
        (P1, Note(3, NoteKind.CONFIRMED, ONE)),
        *[(C1, Note(4, kind, ONE)) for kind in (NoteKind.DELIVERED, NoteKind.ACKED)] * 2,
    ]
    verdict = verdict_of(*lines)
    assert (verdict.duplicates, verdict.republished) == (Duplicates(0, 1, ()), 1)
    assert verdict.objections(duplicates=True) == ()
    once = verdict_of(*[line for line in lines if line[1].kind is not NoteKind.REPUBLISHED])
    assert [one.number for one in once.duplicates.unexplained] == [ONE]


def test_a_refusal_that_was_sent_again_is_none_and_is_waited_for_anew() -> None:
    verdict = verdict_of(
        (P1, Note(1, NoteKind.PUBLISHED, ONE)),
        (P1, Note(2, NoteKind.REFUSED, ONE)),
        (P1, Note(10, NoteKind.REPUBLISHED, ONE)),
        (P1, Note(15, NoteKind.CONFIRMED, ONE)),
    )
    assert (verdict.refused, verdict.confirmed, len(verdict.lost)) == (0, 1, 1)
    assert verdict.longest_gap == Gap(P1, 10, 5)


def test_what_is_sent_again_without_need_is_unexpected() -> None:
    verdict = verdict_of(
        (P1, Note(1, NoteKind.REPUBLISHED, ONE)),
        (P1, Note(2, NoteKind.PUBLISHED, ONE)),
        (P1, Note(3, NoteKind.CONFIRMED, ONE)),
        (P1, Note(4, NoteKind.REPUBLISHED, ONE)),
        (P2, Note(5, NoteKind.REPUBLISHED, ONE)),
    )
    assert [one.text for one in verdict.unexpected] == [
        "message 1 published again, never before",
        "message 1 published again when confirmed",
        "message 1 published again, never before",
    ]


def test_what_was_given_back_need_not_be_acked_but_its_copy_must() -> None:
    lines = [
        (P1, Note(1, NoteKind.PUBLISHED, ONE)),
        (P1, Note(2, NoteKind.CONFIRMED, ONE)),
        (C1, Note(3, NoteKind.DELIVERED, ONE)),
        (C1, Note(4, NoteKind.GIVEN_BACK, ONE)),
        (C2, Note(5, NoteKind.DELIVERED, ONE, redelivered=True)),
    ]
    assert verdict_of(*lines).objections(duplicates=True) == ("never acked: 1 deliveries",)
    acked = (C2, Note(6, NoteKind.ACKED, ONE))
    assert verdict_of(*lines, acked).objections(duplicates=True) == ()
    ledger = books_of([(client, QUEUE[client], note) for client, note in (*lines, acked)])
    assert ledger.unacked() == 0
