from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.api.world import COOKIE_KEY
from umd.clock import SECOND
from umd.domain.cookies import Cookie
from umd.errors import InvalidState, NotFound, SecretsUnavailable, Unsealable
from umd.storage import cookies
from umd.storage.cookies import CookieStore, Jar
from umd.storage.erase import erase
from umd.storage.vault import Sealed, Vault

CANARY = "canary-5c1b"
COOKIES = (Cookie("example.com", True, "/", True, 0, "sid", CANARY),)
JAR = Jar(cookies_id="0" * 26, owner="me", name="mine", domains=("example.com",), created_at=1)
OTHER_KEY = "B" * 42 + "A="


def store(root: Path, keys: str = COOKIE_KEY) -> CookieStore:
    made = CookieStore(root, Vault.of(keys))
    made.prepare()
    return made


def file_of(root: Path) -> Path:
    [path] = (root / "cookies").iterdir()
    return path


def test_a_jar_is_given_to_its_owner_also_after_a_restart(tmp_path: Path) -> None:
    store(tmp_path).add(JAR, COOKIES)

    again = store(tmp_path)
    assert again.all() == [JAR]
    assert CANARY in again.copy(JAR.cookies_id, "me", 0).netscape
    with pytest.raises(NotFound):
        again.copy(JAR.cookies_id, "you", 0)


def test_the_disk_never_sees_a_value_and_nobody_else_sees_the_file(tmp_path: Path) -> None:
    store(tmp_path).add(JAR, COOKIES)

    path = file_of(tmp_path)
    assert CANARY.encode() not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_flipped_byte_anywhere_is_found() -> None:
    vault = Vault.of(COOKIE_KEY)
    sealed = vault.seal(b"crumbs", "me", "1")

    for index in range(len(sealed.data)):
        data = bytearray(sealed.data)
        data[index] ^= 1
        with pytest.raises(Unsealable):
            vault.open(Sealed(sealed.key, sealed.nonce, bytes(data)), "me", "1")
    with pytest.raises(Unsealable):
        vault.open(sealed, "you", "1")
    with pytest.raises(Unsealable):
        vault.open(Sealed(sealed.key, b"", sealed.data), "me", "1")
    assert vault.open(sealed, "me", "1") == b"crumbs"


def test_a_jar_that_was_given_another_owner_is_not_opened(tmp_path: Path) -> None:
    store(tmp_path).add(JAR, COOKIES)
    path = file_of(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"owner":"me"', b'"owner":"you"'))

    assert store(tmp_path).all() == []


def test_a_new_key_takes_over_and_the_old_one_can_go(tmp_path: Path) -> None:
    store(tmp_path).add(JAR, COOKIES)

    assert store(tmp_path, f"{OTHER_KEY},{COOKIE_KEY}").all() == [JAR]
    assert CANARY in store(tmp_path, OTHER_KEY).copy(JAR.cookies_id, "me", 0).netscape
    assert store(tmp_path, COOKIE_KEY).all() == []


def test_a_deleted_jar_leaves_nothing(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.add(JAR, COOKIES)

    kept.remove(JAR.cookies_id)
    kept.remove(JAR.cookies_id)

    assert list((tmp_path / "cookies").iterdir()) == []
    with pytest.raises(NotFound):
        kept.copy(JAR.cookies_id, "me", 0)


def test_an_expired_jar_is_no_more(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.add(replace(JAR, expires_at=5 * SECOND), COOKIES)

    with pytest.raises(NotFound):
        kept.copy(JAR.cookies_id, "me", 5 * SECOND)
    kept.sweep(5 * SECOND)
    assert kept.all() == []
    assert list((tmp_path / "cookies").iterdir()) == []


def test_there_is_a_limit_and_a_key_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cookies, "JARS_OF_ONE_MAX", 1)
    kept = store(tmp_path)
    kept.add(JAR, COOKIES)

    with pytest.raises(InvalidState):
        kept.add(replace(JAR, cookies_id="1" * 26), COOKIES)
    assert kept.add(replace(JAR, name="another"), COOKIES) == JAR
    with pytest.raises(SecretsUnavailable):
        store(tmp_path / "other", "").add(JAR, COOKIES)


def test_erasing_overwrites_what_no_other_name_has(tmp_path: Path) -> None:
    path, open_elsewhere = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"secret")
    with path.open("rb") as witness:
        erase(path)
        assert witness.read() == bytes(6)
    open_elsewhere.write_bytes(b"shared")
    path.hardlink_to(open_elsewhere)
    erase(path)

    assert open_elsewhere.read_bytes() == b"shared"
    assert not path.exists()
    erase(path)


def line(domain: str, name: str, value: str, expires: int = 0) -> str:
    return "\t".join((domain, "FALSE", "/", "FALSE", str(expires), name, value)) + "\n"


def test_a_jar_that_asks_for_it_takes_what_sites_changed_of_its_own_domains(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.add(replace(JAR, update=True), COOKIES)
    back = (
        line(".example.com", "sid", "fresh")
        + line("example.com", "more", "new")
        + line("evil.example", "sid", "planted")
        + line("sub.example.com", "sid", "planted")
        + "nonsense\n"
    )
    kept.update(JAR.cookies_id, "me", back, 7)

    again = store(tmp_path)
    copy = again.copy(JAR.cookies_id, "me", 8)
    assert copy.hand_back
    assert sorted(one.split("\t")[5:] == ["sid", "fresh"] for one in copy.netscape.splitlines()[1:]) == [0, 1]
    assert not any(word in copy.netscape for word in (CANARY, "planted", "nonsense"))
    assert again.all() == [replace(JAR, update=True, updated_at=7, version=2)]
    assert b"fresh" not in file_of(tmp_path).read_bytes()


@pytest.mark.parametrize(
    ("update", "owner", "back"),
    [
        (False, "me", line("example.com", "sid", "fresh")),
        (True, "you", line("example.com", "sid", "fresh")),
        (True, "me", line("evil.example", "sid", "planted")),
        (True, "me", line("example.com", "sid", "old", expires=1)),
        (True, "me", line("example.com", "sid", "x") + "#" * 65_536),
        (True, "me", ""),
    ],
)
def test_a_jar_stays_as_it_is(tmp_path: Path, update: bool, owner: str, back: str) -> None:
    kept = store(tmp_path)
    jar = replace(JAR, update=update)
    kept.add(jar, COOKIES)
    kept.update(JAR.cookies_id, owner, back, 7 * SECOND)

    assert CANARY in kept.copy(JAR.cookies_id, "me", 8 * SECOND).netscape
    assert store(tmp_path).all() == [jar]


def test_a_jar_that_was_deleted_does_not_come_back_with_a_copy(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.add(replace(JAR, update=True), COOKIES)
    kept.remove(JAR.cookies_id)
    kept.update(JAR.cookies_id, "me", line("example.com", "sid", "fresh"), 7)

    assert kept.all() == []
    assert list((tmp_path / "cookies").iterdir()) == []
