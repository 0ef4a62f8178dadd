"""Leave out an import that costs two seconds at each start and serves nobody here."""

from __future__ import annotations

import sys


def skip_slow_imports() -> None:
    """jsonschema builds a grammar of all URIs when it finds rfc3987_syntax; no notebook's schema asks for a URI."""
    if "rfc3987_syntax" not in sys.modules:
        sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
