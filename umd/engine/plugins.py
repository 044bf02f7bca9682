"""Which plugins yt-dlp may load: the operator's, and none that lie about elsewhere.

By default yt-dlp searches home directories and all of `sys.path`. A plugin directory of its kind holds
packages; one that is a package itself is taken as well, by way of a directory that links to it.
"""

from pathlib import Path

from umd.engine.config import EngineConfig

PACKAGE = "yt_dlp_plugins"


def link(config: EngineConfig) -> None:
    """Make what `search_path` names. Once, before there are processes that would race for it."""
    if not _is_package(config):
        return
    target = _links(config) / "operator"
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    if not target.is_symlink() or target.readlink() != Path(config.plugin_dir):
        target.unlink(missing_ok=True)
        target.symlink_to(config.plugin_dir)


def search_path(config: EngineConfig) -> list[str]:
    """The directories in which yt-dlp is to look for packages of plugins."""
    if _is_package(config):
        return [str(_links(config))]
    return [config.plugin_dir] if config.plugin_dir else []


def _is_package(config: EngineConfig) -> bool:
    return bool(config.plugin_dir) and (Path(config.plugin_dir) / PACKAGE).is_dir()


def _links(config: EngineConfig) -> Path:
    return Path(config.scratch) / "plugins"
