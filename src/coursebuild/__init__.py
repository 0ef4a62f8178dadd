"""The tool that composes notebooks, solutions and book pages from their one source each."""
