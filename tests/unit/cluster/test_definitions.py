"""Definitions: judged, compared, and told apart from what this cluster can't take."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.definitions import (
    KINDS,
    BadDefinitions,
    World,
    compare,
    read_definitions,
    without_own,
)
from warrener.cluster.topology_steps import Verb

WORLD = World(
    version="3.10.8",
    release=(3, 10),
    nodes=frozenset({"n1@localhost"}),
    exchange_types=frozenset({"direct", "fanout", "topic", "headers"}),
    queue_types=frozenset({"classic", "quorum", "stream"}),
    plugins=frozenset({"rabbitmq_management"}),
    own_user="warrener",
)

QUEUE = {
    "name": "q", "vhost": "/", "durable": True, "auto_delete": False,
    "arguments": {"x-queue-type": "quorum"},
}  # fmt: skip
BINDING = {
    "vhost": "/", "source": "e", "destination": "q", "destination_type": "queue",
    "routing_key": "a", "arguments": {},
}  # fmt: skip
POLICY = {
    "vhost": "/", "name": "p", "pattern": "^q", "apply-to": "queues", "priority": 0,
    "definition": {"max-length": 5},
}  # fmt: skip
USER = {
    "name": "app", "password_hash": "aGFzaA==", "tags": ["monitoring"],
    "hashing_algorithm": "rabbit_password_hashing_sha256", "limits": {},
}  # fmt: skip


def steps(wanted: dict[str, Any], found: dict[str, Any] | None = None, **world: Any) -> list[Any]:
    from dataclasses import replace

    there = read_definitions(found if found is not None else {"users": []})
    return compare(read_definitions(wanted), there, replace(WORLD, **world))


def told(wanted: dict[str, Any], found: dict[str, Any] | None = None, **world: Any) -> list[str]:
    return [
        f"{step.verb} {step.kind.thing} {step.subject}" for step in steps(wanted, found, **world)
    ]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], "not a JSON object"),
        ({"a": 1}, "none of RabbitMQ's lists"),
        ({"users": {}}, "users is not a list"),
        ({"users": [7]}, "users[0] is not an object"),
        ({"users": [USER, {"name": 7}]}, "users[1] has no name"),
        ({"users": [{"name": "a", "tags": [1]}]}, "users[0]: tags"),
        ({"queues": [{"name": "q"}]}, "the export of a single one"),
        ({"queues": [{"name": "q", "vhost": "/", "arguments": [1]}]}, "arguments is not an object"),
        ({"queues": [{"name": "q", "vhost": "/", "type": 1}]}, "type is not text"),
        ({"policies": [{**POLICY, "definition": "x"}]}, "definition is not an object"),
        ({"bindings": [{"vhost": "/", "source": "a"}]}, "bindings[0] has no destination_type"),
    ],
)
def test_a_wrong_document_is_refused_with_the_place(document: Any, text: str) -> None:
    with pytest.raises(BadDefinitions, match=text.replace("[", r"\[").replace("]", r"\]")):
        read_definitions(document)


def test_what_is_missing_is_made_in_the_order_of_need() -> None:
    document = {
        "bindings": [BINDING], "queues": [QUEUE], "users": [USER], "vhosts": [{"name": "v"}],
        "policies": [POLICY],
        "parameters": [{"vhost": "v", "component": "vhost-limits", "name": "limits", "value": {}}],
    }  # fmt: skip
    assert told(document) == [
        "make virtual host v",
        "make user app",
        "make policy p",
        "make queue q",
        "make binding e -> q",
        "make parameter v/vhost-limits limits",
    ]
    assert told(document, document) == []


def test_a_queue_declared_otherwise_is_blocked_and_a_policy_is_changed() -> None:
    other = {**QUEUE, "arguments": {"x-queue-type": "quorum", "x-max-length": 3}}
    (queue, policy) = steps(
        {"queues": [QUEUE], "policies": [POLICY]},
        {"queues": [other], "policies": [{**POLICY, "priority": 4}]},
    )[::-1]
    assert (queue.verb, "declared otherwise" in queue.blocked) == (Verb.CHANGE, True)
    assert (policy.blocked, [(c.what, c.before, c.after) for c in policy.changes]) == (
        "",
        [("priority", "4", "0")],
    )


def test_bindings_differ_by_their_arguments() -> None:
    other = {**BINDING, "arguments": {"x": 1}}
    assert len(told({"bindings": [BINDING, other]}, {"bindings": [BINDING]})) == 1


def test_the_tools_export_is_the_same_as_the_apis() -> None:
    """As RabbitMQ 3.10.8 writes one cluster, by `rabbitmqctl` and by its API."""
    tool = {
        "vhosts": [
            {
                "name": "shop", "limits": [["max-queues", 50]],
                "metadata": {"description": "d", "tags": ["b", "a"]},
            }
        ],
        "queues": [
            {**QUEUE, "arguments": {"x-max-length": 9}, "type": "classic"},
            {**QUEUE, "name": "s", "arguments": {"x-queue-type": "stream"}, "type": "stream"},
        ],
        "exchanges": [
            {"vhost": "/", "name": "e", "type": "topic", "durable": True, "auto_delete": False,
             "arguments": {}}
        ],
        "parameters": [
            {"vhost": "/", "component": "operator_policy", "name": "o",
             "value": {"pattern": ".*", "definition": [["max-length", 7]]}}
        ],
        "global_parameters": [{"name": "team", "value": [["pager", "555"]]}],
    }  # fmt: skip
    api = {
        "vhosts": [{"name": "shop", "description": "d", "tags": ["a", "b"]}],
        "queues": [
            {**QUEUE, "arguments": {"x-max-length": 9}},
            {**QUEUE, "name": "s", "arguments": {"x-queue-type": "stream"}},
        ],
        "exchanges": [
            {"vhost": "/", "name": "e", "type": "topic", "durable": True, "auto_delete": False,
             "internal": False, "arguments": {}}
        ],
        "parameters": [
            {"vhost": "/", "component": "operator_policy", "name": "o",
             "value": {"pattern": ".*", "definition": {"max-length": 7}}}
        ],
        "global_parameters": [{"name": "team", "value": {"pager": "555"}}],
    }  # fmt: skip
    assert told(tool, api) == told(api, tool) == []


def test_nothing_of_warreners_own_or_of_the_clusters_identity_is_taken() -> None:
    document = {
        "users": [{**USER, "name": "warrener"}],
        "permissions": [
            {"user": "warrener", "vhost": "/", "configure": "", "write": "", "read": ""}
        ],
        "topic_permissions": [
            {"user": "warrener", "vhost": "/", "exchange": "e", "write": "", "read": ""}
        ],
        "global_parameters": [
            {"name": "cluster_name", "value": "other"},
            {"name": "internal_cluster_id", "value": "x"},
        ],
    }
    assert told(document) == []
    assert without_own(read_definitions(document), ["warrener"]).counts() == {}


@pytest.mark.parametrize(
    ("document", "world", "why"),
    [
        (
            {"queues": [{**QUEUE, "arguments": {"x-queue-type": "foo"}}]},
            {},
            "no queues of type 'foo'",
        ),
        ({"queues": [QUEUE]}, {"queue_types": frozenset({"classic"})}, "only classic"),
        (
            {"exchanges": [{"vhost": "/", "name": "e", "type": "x-delayed-message"}]},
            {},
            "(rabbitmq_delayed_message_exchange)",
        ),
        (
            {"parameters": [{"vhost": "/", "component": "shovel", "name": "s", "value": {}}]},
            {},
            "(rabbitmq_shovel)",
        ),
        (
            {"policies": [{**POLICY, "definition": {"federation-upstream-set": "all"}}]},
            {},
            "(rabbitmq_federation)",
        ),
        (
            {"policies": [{**POLICY, "definition": {"ha-mode": "all"}}]},
            {"release": (4, 1), "version": "4.1.0"},
            "RabbitMQ 4.1.0 has no mirrored",
        ),
    ],
)
def test_what_this_cluster_lacks_is_blocked_with_the_reason(
    document: dict[str, Any], world: dict[str, Any], why: str
) -> None:
    (step,) = steps(document, **world)
    assert why in step.blocked


def test_a_plugin_that_is_there_blocks_nothing_and_unknown_types_are_rabbitmqs() -> None:
    shovel = {"vhost": "/", "component": "shovel", "name": "s", "value": {}}
    (step,) = steps({"parameters": [shovel]}, plugins=frozenset({"rabbitmq_shovel_management"}))
    assert step.blocked == ""
    newer = {**QUEUE, "arguments": {"x-queue-type": "jms"}}
    (step,) = steps({"queues": [newer]}, queue_types=frozenset(), release=(4, 3))
    assert step.blocked == ""


def test_dangers() -> None:
    nodes = {
        **POLICY,
        "definition": {"ha-mode": "nodes", "ha-params": ["n1@localhost", "rabbit@a"]},
    }
    (step,) = steps({"policies": [nodes]})
    assert step.danger == "names nodes that aren't here: rabbit@a"
    (step,) = steps({"users": [{"name": "nobody", "tags": ""}]})
    assert "no password" in step.danger


def test_secrets_are_not_shown() -> None:
    shovel = {"vhost": "/", "component": "shovel", "name": "s"}
    wanted = {
        "users": [{**USER, "password_hash": "bmV3"}],
        "parameters": [{**shovel, "value": {"src-uri": "amqp://u:secret@h"}}],
        "global_parameters": [{"name": "g", "value": "secret"}],
    }
    found = {
        "users": [USER],
        "parameters": [{**shovel, "value": {"src-uri": "amqp://u:secret-of-old@h"}}],
        "global_parameters": [{"name": "g", "value": "secret-of-old"}],
    }
    changes = [change for step in steps(wanted, found) for change in step.changes]
    assert len(changes) == 3
    assert all((one.before, one.after) == ("another", "the document's") for one in changes)
    shown = repr(steps(wanted, found)) + repr(read_definitions(wanted))
    assert "secret" not in shown
    assert "bmV3" not in shown


def test_a_plain_password_is_compared_with_the_hash() -> None:
    import base64
    import hashlib

    made = b"salt" + hashlib.sha256(b"salt" + b"right").digest()
    there = {"users": [{**USER, "password_hash": base64.b64encode(made).decode()}]}
    plain = {"name": "app", "tags": ["monitoring"]}
    assert told({"users": [{**plain, "password": "right"}]}, there) == []
    assert told({"users": [{**plain, "password": "wrong"}]}, there) == ["change user app"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["name", "vhost", "tags", "arguments", "type", "definition", "value", "component",
             "metadata", "user", "source", "destination", "limits", "ha-params", "ha-mode"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([kind.list for kind in KINDS]), JSON, max_size=3))
def test_any_json_is_compared_or_refused(document: dict[str, Any]) -> None:
    """A hostile document ends in steps or BadDefinitions; compared with itself, in nothing."""
    try:
        read = read_definitions(json.loads(json.dumps(document)))
    except BadDefinitions:
        return
    compare(read, read_definitions({"users": []}), WORLD)
    assert compare(read, read, WORLD) == []
