"""The local media site: a small real web site on loopback that end-to-end tests and benches download from.

- `server.Site` runs it; its journal (`journal.Record`) tells what the origin saw, its gates hold what a test
  wants held.
- `knobs.Knobs` are the query parameters that make one answer slow, stalled, broken or refused.
- `files`, `streams`, `pages` have the routes that yt-dlp understands by itself; `api` and `catalog` those
  behind `/site/...`, which it understands with the plugin in `PLUGINS`; `control` is for who runs the site
  in another process.
- `media` makes the clips at first use and keeps them; `recipes` are the ffmpeg commands.
"""

from tests.site.media import Media
from tests.site.server import PLUGINS, Site

__all__ = ["PLUGINS", "Media", "Site"]
