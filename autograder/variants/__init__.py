"""Named wrong and right solutions, one module a chapter."""
