"""Hidden tests, one module a chapter."""
