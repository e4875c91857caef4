"""What a description holds: what each key becomes, and every mistake told with its place."""

from pathlib import Path

import pytest

from warrener.cluster import config_table
from warrener.cluster.config_table import Problem
from warrener.cluster.policy_keys import POLICY_KEYS, QUEUE_TYPES, types_for
from warrener.cluster.profiles import PROFILES
from warrener.cluster.spec import ClusterSpec, SpecError, parse_spec
from warrener.cluster.topology_checks import why_not_regex
from warrener.cluster.wanted import (
    Password,
    PasswordKind,
    Permission,
    Policy,
    PolicyId,
    Queue,
    User,
    VHost,
)


def mistakes(text: str, release: tuple[int, int] | None = None) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, source="w.toml", release=release)
    return str(caught.value).splitlines()


def test_everything_can_be_described() -> None:
    spec = parse_spec(
        """
        [[vhost]]
        name = "orders"
        description = "Orders"
        tags = ["production"]
        default_queue_type = "quorum"
        max_connections = 100
        max_queues = 50
        [[user]]
        name = "shop"
        password = { env = "SHOP" }
        tags = ["monitoring", "policymaker"]
        max_connections = 5
        max_channels = 0
        [user.permissions.orders]
        configure = "^shop"
        write = ".*"
        [[user]]
        name = "b"
        password = { file = "secrets/b" }
        permissions = { "/" = { read = "x" } }
        [[user]]
        name = "c"
        password = { generate = true }
        [[user]]
        name = "d"
        password = "pl4in"
        [[policy]]
        vhost = "orders"
        name = "p"
        pattern = "^x"
        apply_to = "queues"
        priority = 3
        definition = { max-length = 10, overflow = "drop-head" }
        [[operator_policy]]
        name = "p"
        pattern = ".*"
        definition = { expires = 5 }
        [[queue]]
        name = "q"
        type = "classic"
        arguments = { x-max-priority = 5 }
        [config]
        vm_memory_high_watermark.relative = 0.4
        heartbeat = 30
        "log.file.level" = "debug"
        """
    )
    wanted = spec.wanted
    assert wanted.vhosts == (
        VHost(
            "orders",
            "Orders",
            ("production",),
            "quorum",
            {"max-connections": 100, "max-queues": 50},
        ),
    )
    assert wanted.users == (
        User(
            "shop",
            Password(PasswordKind.ENV, "SHOP"),
            ("monitoring", "policymaker"),
            {"orders": Permission("^shop", ".*", "")},
            {"max-connections": 5, "max-channels": 0},
        ),
        User("b", Password(PasswordKind.FILE, "secrets/b"), (), {"/": Permission("", "", "x")}),
        User("c", Password(PasswordKind.GENERATED)),
        User("d", Password(PasswordKind.PLAIN, "pl4in")),
    )
    assert wanted.policies == (
        Policy(
            PolicyId("orders", "p"), "^x", {"max-length": 10, "overflow": "drop-head"}, "queues", 3
        ),
        Policy(PolicyId("/", "p", operator=True), ".*", {"expires": 5}, "queues"),
    )
    assert wanted.queues == (Queue("/", "q", "classic", {"x-max-priority": 5}),)
    assert spec.config == {
        "vm_memory_high_watermark.relative": 0.4,
        "heartbeat": 30,
        "log.file.level": "debug",
    }
    assert "pl4in" not in repr(spec)


def test_queue_defaults_become_a_policy_and_a_type_in_each_virtual_host() -> None:
    spec = parse_spec(
        """
        [queues]
        type = "quorum"
        delivery-limit = 5
        [[vhost]]
        name = "a"
        [[vhost]]
        name = "b"
        default_queue_type = "stream"
        """
    )
    assert [vhost.default_queue_type for vhost in spec.wanted.vhosts] == ["quorum", "stream"]
    assert [(policy.id, policy.priority) for policy in spec.wanted.policies] == [
        (PolicyId("a", "warrener-queues"), -100),
        (PolicyId("b", "warrener-queues"), -100),
    ]


def test_queue_defaults_without_virtual_hosts_are_for_the_default_one() -> None:
    spec = parse_spec('[queues]\ntype = "quorum"\nmax-length = 5')
    assert spec.wanted.vhosts == (VHost("/", default_queue_type="quorum"),)
    assert [policy.id.vhost for policy in spec.wanted.policies] == ["/"]


USER = '[[user]]\nname = "u"\npassword = { generate = true }\n'
POLICY = '[[policy]]\nname = "p"\npattern = ".*"\n'

CASES = {
    "a table where several belong": (
        '[user]\nname = "u"',
        ["w.toml:1:2: user: a table can't be used; allowed: tables, each headed [[user]]"],
    ),
    "no name, no password": (
        "[[user]]\ntags = []",
        [
            "w.toml:1:3: user[0].name: is missing; allowed: the name of a user",
            "w.toml:1:3: user[0].password: is missing; allowed: "
            '{ env = "NAME" }, { file = "PATH" }, { generate = true }, or the password itself',
        ],
    ),
    "an unknown key in the second of two": (
        f'{USER}[[user]]\nname = "v"\npassword = "x"\nmax_conections = 5',
        [
            "w.toml:7:1: user[1].max_conections: unknown key; allowed: name, password, tags, "
            "permissions, max_connections, max_channels; did you mean 'max_connections'?"
        ],
    ),
    "a user twice": (
        USER + USER,
        ['w.toml:5:1: user[1].name: user "u" is described twice (first in line 2)'],
    ),
    "Warrener's own user": (
        '[[user]]\nname = "warrener"\npassword = "x"',
        [
            'w.toml:2:1: user[0].name: "warrener" is the user that Warrener itself logs in with; '
            "allowed: another name"
        ],
    ),
    "a virtual host that isn't described, and no regular expression": (
        f'[[vhost]]\nname = "orders"\n{USER}[user.permissions.ordres]\nread = "[a"',
        [
            'w.toml:6:19: user[0].permissions.ordres: no virtual host "ordres" is described; '
            'allowed: "orders", "/"; did you mean \'orders\'?',
            'w.toml:7:1: user[0].permissions.ordres.read: "[a" isn\'t a regular expression: '
            "unterminated character set at position 0 (as Python reads it, which is close to "
            "RabbitMQ)",
        ],
    ),
    "a password that is none doesn't show itself": (
        '[[user]]\nname = "u"\npassword = 12345678',
        [
            "w.toml:3:1: user[0].password: this can't be used; allowed: "
            '{ env = "NAME" }, { file = "PATH" }, { generate = true }, or the password itself'
        ],
    ),
    "policy values": (
        POLICY + 'definition = { max-length = "5", overflow = "drop-hed" }',
        [
            'w.toml:4:16: policy[0].definition.max-length: "5" can\'t be used; allowed: '
            "a whole number, 0 or more (messages)",
            'w.toml:4:34: policy[0].definition.overflow: "drop-hed" can\'t be used; allowed: '
            '"drop-head", "reject-publish", "reject-publish-dlx"; did you mean \'drop-head\'?',
        ],
    ),
    "keys that no kind of queue has together": (
        POLICY + 'definition = { queue-mode = "lazy", delivery-limit = 3 }',
        [
            "w.toml:4:1: policy[0].definition: no kind of queue knows all of these keys, and "
            "RabbitMQ applies a policy whole or not at all (queue-mode: classic; delivery-limit: "
            "quorum); allowed: one policy for each kind of queue"
        ],
    ),
    "defaults that their type doesn't know": (
        '[queues]\ntype = "classic"\ndelivery-limit = 3',
        [
            "w.toml:3:1: queues.delivery-limit: classic queues don't know this key, and RabbitMQ "
            "would apply none of these to them"
        ],
    ),
    "a queue's key for exchanges": (
        POLICY + 'apply_to = "exchanges"\ndefinition = { max-length = 3 }',
        [
            "w.toml:5:16: policy[0].definition.max-length: is for queues, and this policy is for "
            "exchanges"
        ],
    ),
    "the type among the arguments": (
        '[[queue]]\nname = "q"\narguments = { x-queue-type = "quorum" }',
        [
            "w.toml:3:15: queue[0].arguments.x-queue-type: the type is given by a key of its own; "
            'allowed: type = "quorum"'
        ],
    ),
    "settings": (
        "[config]\na = [1]\nb.c = 1\n'b.c' = 2",
        [
            "w.toml:2:1: config.a: a list can't be used; allowed: one key for each, such as a.1",
            'w.toml:4:1: config."b.c": is set twice',
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_mistakes(name: str) -> None:
    text, expected = CASES[name]
    assert mistakes(text) == expected


def test_unknown_policy_key() -> None:
    (told,) = mistakes(POLICY + "definition = { max-lenght = 3 }")
    assert told.startswith("w.toml:4:16: policy[0].definition.max-lenght: unknown policy key; ")
    assert told.endswith("did you mean 'max-length'?")


@pytest.mark.parametrize(
    ("key", "release", "expected"),
    [
        ("target-group-size = 3", (3, 10), "needs RabbitMQ 3.13, and this is 3.10"),
        ('ha-mode = "all"', (4, 0), "is gone since RabbitMQ 4.0, and this is 4.0"),
    ],
)
def test_keys_of_other_versions(key: str, release: tuple[int, int], expected: str) -> None:
    """They are told only where the version is known."""
    text = POLICY + f"definition = {{ {key} }}"
    assert expected in mistakes(text, release)[0]
    parse_spec(text)


def test_apply_to_of_other_versions() -> None:
    text = POLICY + 'apply_to = "quorum_queues"\ndefinition = { max-length = 3 }'
    (told,) = mistakes(text, (3, 10))
    assert '"quorum_queues" needs RabbitMQ 3.12, and this is 3.10' in told
    parse_spec(text, release=(3, 12))


def test_operator_policies_have_fewer_keys() -> None:
    text = '[[operator_policy]]\nname = "p"\npattern = ""\ndefinition = { overflow = "drop-head" }'
    (told,) = mistakes(text, (3, 10))
    assert "operator policies can't have this key" in told
    parse_spec(text, release=(4, 0))


@pytest.mark.parametrize("pattern", [r"\Kx", r"(?|a|b)", r"\Qa.b\E", "[[:alpha:]]", r"^(?!amq\.)"])
def test_what_only_pcre_knows_is_no_mistake(pattern: str) -> None:
    assert why_not_regex(pattern) is None


def test_a_catalogue_of_settings_can_be_plugged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def check(key: str, value: object, release: object) -> Problem | None:
        asked.append((key, value, release))
        return Problem("unknown setting", "b.d", "b.d") if key == "b.c" else None

    monkeypatch.setattr(config_table, "CHECKS", [check])
    told = mistakes("[config]\na = 1\nb.c = 2", (3, 10))
    assert told == [
        "w.toml:3:3: config.b.c: unknown setting; allowed: b.d; did you mean 'b.d'?",
    ]
    assert asked == [("a", 1, (3, 10)), ("b.c", 2, (3, 10))]


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_are_valid_and_say_why(profile: str) -> None:
    """On the oldest and the newest version; each value has a comment, or its section's."""
    text = PROFILES[profile]
    for release in ((3, 10), (4, 2)):
        spec = parse_spec(text, release=release)
        assert isinstance(spec, ClusterSpec)
    assert spec.wanted.users[0].password.kind is PasswordKind.GENERATED
    assert text.count("#") >= 10


def test_each_key_is_for_something() -> None:
    for key in POLICY_KEYS.values():
        assert key.types or key.exchanges
        assert key.types <= set(QUEUE_TYPES)
        assert key.allowed
    assert types_for([]) == set(QUEUE_TYPES)
    assert types_for(["max-length", "delivery-limit"]) == {"quorum"}


def test_each_key_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "description.md").read_text()
    for name in POLICY_KEYS:
        assert f"| `{name}` |" in page
