"""A warrener.toml of what is there: read again, it wants exactly that."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.backup_file import Document, read
from warrener.cluster.definitions import read_definitions
from warrener.cluster.described import describe
from warrener.cluster.spec import parse_spec
from warrener.cluster.wanted import Password, PasswordKind, Permission, PolicyId

EXPORT: dict[str, Any] = {
    "rabbitmq_version": "3.10.8",
    "vhosts": [
        {"name": "/"},
        {
            "name": "shop", "limits": [],
            "metadata": {"description": 'a "shop"', "tags": ["eu"], "default_queue_type": "quorum"},
        },
    ],
    "users": [
        {"name": "warrener", "password_hash": "x", "tags": ["administrator"]},
        {"name": "app-1", "password_hash": "x", "tags": "monitoring",
         "limits": {"max-channels": 4}},
    ],
    "permissions": [
        {"user": "app-1", "vhost": "shop", "configure": "^$", "write": "a\\.b", "read": ".*"},
        {"user": "warrener", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
    ],
    "policies": [
        {
            "vhost": "shop", "name": "p", "pattern": "^q", "apply-to": "queues", "priority": 2,
            "definition": {"max-length": 5, "dead-letter-exchange": "dlx"},
        }
    ],
    "parameters": [
        {"vhost": "shop", "component": "vhost-limits", "name": "limits",
         "value": {"max-queues": 9}},
        {
            "vhost": "/", "component": "operator_policy", "name": "o",
            "value": {"pattern": ".*", "definition": [["expires", 1000]], "priority": 1,
                      "apply-to": "queues"},
        },
        {"vhost": "/", "component": "shovel", "name": "s", "value": {}},
    ],
    "queues": [
        {
            "vhost": "shop", "name": "q", "durable": True, "auto_delete": False, "type": "quorum",
            "arguments": {"x-queue-type": "quorum", "x-delivery-limit": 3},
        },
        {"vhost": "/", "name": "c", "durable": True, "auto_delete": False, "arguments": {}},
        {"vhost": "/", "name": "gone", "durable": False, "auto_delete": True, "arguments": {}},
    ],
    "exchanges": [{"vhost": "/", "name": "e", "type": "topic"}],
}  # fmt: skip


def text() -> str:
    return describe(read(json.dumps(EXPORT).encode()))


def test_what_is_written_wants_what_was_there() -> None:
    wanted = parse_spec(text()).wanted
    root, shop = wanted.vhosts
    assert root.name == "/"
    assert (shop.name, shop.description, shop.tags) == ("shop", 'a "shop"', ("eu",))
    assert (shop.default_queue_type, shop.limits) == ("quorum", {"max-queues": 9})
    (user,) = wanted.users
    assert user.password == Password(PasswordKind.ENV, "APP_1_PASSWORD")
    assert (user.tags, user.limits) == (("monitoring",), {"max-channels": 4})
    assert user.permissions == {"shop": Permission("^$", "a\\.b", ".*")}
    policy, operator = wanted.policies
    assert policy.id == PolicyId("shop", "p")
    assert policy.definition == {"max-length": 5, "dead-letter-exchange": "dlx"}
    assert (policy.apply_to, policy.priority) == ("queues", 2)
    assert (operator.id, operator.definition) == (PolicyId("/", "o", True), {"expires": 1000})
    assert [(q.vhost, q.name, q.type, q.arguments) for q in wanted.queues] == [
        ("shop", "q", "quorum", {"x-delivery-limit": 3}),
        ("/", "c", "classic", {}),
    ]


def test_what_there_are_no_words_for_is_counted() -> None:
    assert (
        "for: 1 exchanges, 1 parameters (shovels, federation, ...), 1 queues that don't last."
        in text()
    )
    assert "password_hash" not in text()


NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(NAME, NAME, NAME)
def test_any_name_comes_through(vhost: str, queue: str, description: str) -> None:
    document = {
        "vhosts": [{"name": vhost, "description": description}],
        "queues": [{"vhost": vhost, "name": queue, "durable": True, "arguments": {}}],
    }
    spec = parse_spec(describe(Document(None, read_definitions(document))))
    assert spec.wanted.vhosts[0].name == vhost
    assert spec.wanted.vhosts[0].description == description
    assert spec.wanted.queues[0].name == queue
