"""Grading: hidden tests, named wrong solutions, the judge, the sandbox and the gradebook writer."""
