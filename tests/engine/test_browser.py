import sqlite3
from pathlib import Path

import pytest

from umd.domain import cookies
from umd.engine import browser, ffmpeg
from umd.engine.config import configure, scratch_folder
from umd.engine.roster import make_place
from umd.errors import EngineError
from umd.settings import Settings

COLUMNS = "host, name, value, path, expiry, isSecure, originAttributes"


def firefox_profile(directory: Path) -> Path:
    directory.mkdir()
    database = sqlite3.connect(directory / "cookies.sqlite")
    database.execute(f"CREATE TABLE moz_cookies ({COLUMNS})")
    database.execute(
        "INSERT INTO moz_cookies VALUES ('.example.com', 'sid', 'crumbs', '/', 4000000000, 1, '')"
    )
    database.commit()
    database.close()
    return directory


async def test_a_profile_becomes_a_jar_in_a_process_of_its_own(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"))
    config = configure(settings, ffmpeg.find(scratch_folder(settings)))
    make_place(config)

    text = await browser.extract(config, "firefox", str(firefox_profile(tmp_path / "firefox")))

    [cookie] = cookies.parse(text)
    assert (cookie.domain, cookie.name, cookie.value, cookie.secure) == ("example.com", "sid", "crumbs", True)
    with pytest.raises(EngineError):
        await browser.extract(config, "firefox", str(tmp_path / "nowhere"))
