"""Whether this checkout may become a release: `make release-check`."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def problems() -> list[str]:
    """What stands in the way, in words."""
    version = re.search(r'__version__ = "([^"]+)"', (ROOT / "umd" / "__init__.py").read_text())
    assert version is not None, "umd/__init__.py names the version"
    changes = (ROOT / "CHANGELOG.md").read_text()
    unreleased = changes.partition("## [Unreleased]")[2].partition("\n## [")[0].strip()
    found = []
    if f"## [{version[1]}]" not in changes:
        found.append(f"CHANGELOG.md has no section [{version[1]}], which is the version of umd/__init__.py.")
    if unreleased:
        found.append("CHANGELOG.md has changes below [Unreleased]; move them to the release's section.")
    golden = ROOT / "tests" / "log" / "golden" / f"{version[1]}.sql"
    if not golden.exists():
        found.append(f"{golden.relative_to(ROOT)} is missing: the log of each release is read for ever.")
    if _git("status", "--porcelain"):
        found.append("There are changes that are not committed.")
    if f"v{version[1]}" in _git("tag", "--list").split():
        found.append(f"The tag v{version[1]} is there already.")
    return found


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    told = problems()
    print("\n".join(told) or "Ready for a release.")
    sys.exit(bool(told))
