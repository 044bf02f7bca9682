"""Other releases of yt-dlp, as wheels: the real package under another version number, whole or broken.

Of its extractors only those stay that the tests use, so that it is copied, installed and imported quickly.
"""

import re
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

NEW, NEWER = "2027.01.02", "2027.01.09"

BROKEN_IMPORT = {"yt_dlp/utils/__init__.py": "raise ImportError('this release is broken')\n"}
"""It does not start."""

_GENERIC = """
from .common import InfoExtractor

class GenericIE(InfoExtractor):
    IE_DESC = False
    _VALID_URL = r'.*'

    def _real_extract(self, url):
        if {condition}:
            raise KeyError('the site has changed')
        entries = self._parse_html5_media_entries(url, self._download_webpage(url, 'page'), 'page')
        return {{**entries[0], 'id': 'page', 'title': 'page'}}
"""

BROKEN_EXTRACTOR = {"yt_dlp/extractor/generic.py": _GENERIC.format(condition="True")}
"""It starts, but downloads nothing."""

BROKEN_SITES = {"yt_dlp/extractor/generic.py": _GENERIC.format(condition="not url.endswith('/')")}
"""It passes the self-test, whose address ends with a slash, and fails on all other pages."""

_KEPT = re.compile(
    r"yt_dlp/(?!extractor/|__pyinstaller).*"
    r"|yt_dlp/extractor/(__init__|adobepass|afreecatv|common|commonmistakes|commonprotocols|extractors|generic|genericembeds|openload|testurl"
    r"|unsupported|youtube/.*)\.py".replace(r"\.py", r"(\.py)?")
)
_LISTED = re.compile(
    r"^from \.(commonmistakes|commonprotocols|generic|genericembeds|testurl|unsupported|youtube) import "
    r"(\([^)]*\)|.*)$",
    re.MULTILINE,
)


def wheel(folder: Path, version: str, changes: Mapping[str, str] | None = None) -> Path:
    """Make a wheel of this version in a folder, with these files in the place of its own."""
    own = _own()
    files = {name: path.read_text() for name, path in _sources(own).items()}
    files["yt_dlp/version.py"] = re.sub(
        r"^__version__ = .*$", f"__version__ = '{version}'", files["yt_dlp/version.py"], flags=re.MULTILINE
    )
    listing = (own / "yt_dlp/extractor/_extractors.py").read_text()
    files["yt_dlp/extractor/_extractors.py"] = "\n".join(one[0] for one in _LISTED.finditer(listing)) + "\n"
    # Without its list the real one is taken; the class alone is what umd imports from here.
    lazy = (own / "yt_dlp/extractor/lazy_extractors.py").read_text()
    files["yt_dlp/extractor/lazy_extractors.py"] = lazy[: lazy.index("IE(LazyLoad")].rpartition("\nclass ")[0]
    files |= changes or {}
    info = f"yt_dlp-{version}.dist-info"
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: yt-dlp\nVersion: {version}\nProvides-Extra: default\n"
        "Requires-Dist: yt-dlp-ejs==0.8.0; extra == 'default'\n"
    )
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    path = folder / f"yt_dlp-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def unpacked(shelf: Path, version: str, changes: Mapping[str, str] | None = None) -> Path:
    """Put a release where an installation would."""
    shelf.mkdir(parents=True, exist_ok=True)
    made = wheel(shelf, version, changes)
    with zipfile.ZipFile(made) as archive:
        archive.extractall(shelf / version)
    made.unlink()
    return shelf / version


def _own() -> Path:
    spec = find_spec("yt_dlp")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def _sources(own: Path) -> dict[str, Path]:
    found = {path.relative_to(own).as_posix(): path for path in (own / "yt_dlp").rglob("*.py")}
    return {name: path for name, path in found.items() if _KEPT.fullmatch(name)}
