"""URLs and addresses of a cluster that somebody else runs."""

import pytest

from warrener.cluster.attach import address_of, is_node_name, url_of


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("http://a:15672", "http://a:15672"),
        ("http://a:15672/", "http://a:15672"),
        ("https://rabbit.example", "https://rabbit.example"),
        ("https://example/rabbit/api/", "https://example/rabbit"),
        ("http://[::1]:15672", "http://[::1]:15672"),
    ],
)
def test_urls_that_are_taken(typed: str, url: str) -> None:
    assert url_of(typed) == url


@pytest.mark.parametrize(
    "typed",
    ["", "a:15672", "amqp://a", "http://", "http://a:0", "http://a:99999", "http://a?x=1", "//a"],
)
def test_urls_that_are_not(typed: str) -> None:
    with pytest.raises(ValueError, match=r"can't be used|no URL|more than an address"):
        url_of(typed)


@pytest.mark.parametrize("typed", ["http://u:s3cret@a:1", "https://u@a", "http://:s3cret@a"])
def test_a_password_in_a_url_is_refused_and_not_repeated(typed: str) -> None:
    with pytest.raises(ValueError, match=r"--password-file.*WARRENER_PASSWORD") as error:
        url_of(typed)
    assert "s3cret" not in str(error.value)


def test_a_password_in_something_that_is_no_url_is_not_repeated() -> None:
    with pytest.raises(ValueError) as error:
        url_of("http://u:s3cret@a:port")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("10.0.0.1", ("10.0.0.1", 5672)),
        ("10.0.0.1:5673", ("10.0.0.1", 5673)),
        ("a.example:1", ("a.example", 1)),
        ("::1", ("::1", 5672)),
        ("[::1]:5673", ("::1", 5673)),
    ],
)
def test_addresses(typed: str, address: tuple[str, int]) -> None:
    assert address_of(typed) == address


@pytest.mark.parametrize("typed", ["", ":5672", "a:x", "a:0", "a:70000", "u@a", "a/b"])
def test_what_is_no_address(typed: str) -> None:
    with pytest.raises(ValueError):
        address_of(typed)


def test_names_of_nodes() -> None:
    assert is_node_name("rabbit@a")
    assert not any(map(is_node_name, ("a", "rabbit@", "@a", "a b@c", "a@b@c")))
