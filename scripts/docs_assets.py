"""Takes Swagger UI and ReDoc out of their npm packages: `python scripts/docs_assets.py FOLDER`.

The folder has what `npm pack swagger-ui-dist redoc` leaves there. The files are taken as they are, but for
one address: ReDoc shows a logo from another host, and a page of this service asks nobody else. Their licences
come with them. `tests/api/test_docs_pages.py` knows the files by their hashes.
"""

import hashlib
import sys
import tarfile
from pathlib import Path

ASSETS = Path(__file__).parent.parent / "umd" / "api" / "assets"
FILES = {
    "swagger-ui-dist-*.tgz": {
        "swagger-ui-bundle.js": "swagger-ui-bundle.js",
        "swagger-ui.css": "swagger-ui.css",
        "favicon-32x32.png": "favicon-32x32.png",
        "swagger-ui-bundle.js.LICENSE.txt": "swagger-ui-bundle.js.LICENSE.txt",
        "LICENSE": "swagger-ui.LICENSE",
        "NOTICE": "swagger-ui.NOTICE",
    },
    "redoc-*.tgz": {
        "bundles/redoc.standalone.js": "redoc.standalone.js",
        "bundles/redoc.standalone.js.LICENSE.txt": "redoc.standalone.js.LICENSE.txt",
        "LICENSE": "redoc.LICENSE",
    },
}
FOREIGN_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_LOGO = b"data:,"


def main() -> int:
    folder = Path(sys.argv[1])
    for pattern, names in FILES.items():
        [package] = folder.glob(pattern)
        with tarfile.open(package) as archive:
            for inside, name in names.items():
                file = archive.extractfile(f"package/{inside}")
                assert file is not None, inside
                content = file.read().replace(FOREIGN_LOGO, NO_LOGO)
                (ASSETS / name).write_bytes(content)
                print(f'    "{name}": "{hashlib.sha256(content).hexdigest()}",')
    return 0


if __name__ == "__main__":
    sys.exit(main())
