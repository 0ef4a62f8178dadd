"""The reference library of the course: one module a chapter, named by the chapter's slug."""
