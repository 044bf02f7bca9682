"""Keys, scopes and owners, without a server."""

import hmac
import statistics
import time

import pytest

from umd.domain import access
from umd.domain.access import NOBODY, Caller, Keyring, parse_keys

KEY = "umd_0123456789abcdef0123456789abcdef"
OTHER = "umd_fedcba9876543210fedcba9876543210"


def test_a_key_may_be_given_in_clear_or_as_its_hash() -> None:
    hashed = f"sha256${access.hashed(KEY).hex()}"

    assert parse_keys(f"a:write:{KEY}") == parse_keys(f" a:write:{hashed} ,")


def test_the_keys_of_a_name_are_valid_side_by_side() -> None:
    ring = Keyring(parse_keys(f"a:write:{KEY},a:read:{OTHER}"))

    assert ring.caller(KEY) == Caller("a", "write", verified=True)
    assert ring.caller(OTHER) == Caller("a", "read", verified=True)


@pytest.mark.parametrize(
    "presented",
    [
        "",
        KEY[:-1],
        f"{KEY}x",
        f" {KEY}",
        KEY.upper(),
        f"sha256${access.hashed(KEY).hex()}",
        "é",
        "\udcff",
        "\0",
    ],
)
def test_t17_what_is_not_the_key_to_the_last_byte_is_none(presented: str) -> None:
    assert Keyring(parse_keys(f"a:write:{KEY}")).caller(presented) is None


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"a:{KEY}",
        f":write:{KEY}",
        f"a b:write:{KEY}",
        f"a:root:{KEY}",
        f"a:Write:{KEY}",
        f"anonymous:write:{KEY}",
        f"{'a' * 51}:write:{KEY}",
        "a:write:secretsecret",
        "a:write:secret secret secret",
        "a:write:sécretsecretsecret",
        "a:write:sha256$secret",
        f"a:write:{KEY},b:read:{KEY}",
    ],
)
def test_bad_keys_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"[Kk]ey") as refused:
        parse_keys(text)

    assert KEY not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_new_key_is_one_that_is_taken() -> None:
    key = access.new_key(bytes(range(32)))

    assert Keyring(parse_keys(f"a:admin:{key}")).caller(key) is not None


@pytest.mark.parametrize(
    ("scope", "may"),
    [(None, []), ("read", ["read"]), ("write", ["read", "write"]), ("admin", ["read", "write", "admin"])],
)
def test_a_scope_allows_what_those_before_it_allow(scope: access.Scope | None, may: list[str]) -> None:
    caller = Caller("a", scope)

    assert [each for each in access.SCOPES if caller.may(each)] == may


def test_only_the_owner_and_an_admin_see_what_belongs_to_somebody() -> None:
    assert Caller("a", "read").sees("a")
    assert not Caller("a", "write").sees("b")
    assert not Caller("a", "write").sees(None)
    assert Caller("a", "admin").sees("b")
    assert Caller("a", "admin").sees(None)
    assert not NOBODY.sees(NOBODY.name)


def test_t17_every_key_is_compared_whole_whichever_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(access, "compare_digest", compare)
    keys = [access.new_key(bytes([number]) * 32) for number in range(4)]
    ring = Keyring(parse_keys(",".join(f"k{number}:read:{key}" for number, key in enumerate(keys))))

    for presented in (*keys, keys[0][:-1], "", "x" * 10_000):
        compared.clear()
        ring.caller(presented)
        assert compared == [(32, 32)] * 4


@pytest.mark.soak
def test_t17_the_time_to_look_a_key_up_tells_nothing_of_it() -> None:
    """Welch's t-test, as dudect does it, between keys that are wrong at once and at their very end."""
    ring = Keyring(parse_keys(f"a:write:{KEY},b:read:{OTHER}"))
    near, far = f"{KEY[:-1]}x", f"x{KEY[1:]}"
    times: dict[str, list[int]] = {near: [], far: []}
    for key in (near, far, far, near) * 250_000:
        began = time.perf_counter_ns()
        ring.caller(key)
        times[key].append(time.perf_counter_ns() - began)

    # What interrupts the process is left out: the slowest tenth of each.
    kept = [sorted(found)[: len(found) * 9 // 10] for found in times.values()]
    spread = sum(statistics.variance(found) / len(found) for found in kept) ** 0.5
    difference = abs(statistics.mean(kept[0]) - statistics.mean(kept[1]))
    assert difference < max(4.5 * spread, 20), (difference, spread)  # nanoseconds
