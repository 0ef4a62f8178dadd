"""The rows of the attack table: 1–54 are the ones that stock nbgrader was tried with, from 55 on our own finds.

A case belongs to a row through `@row("name")`. What a level cannot hold stands in NOT_HELD with the reason; those
cases are run all the same, and must show what the reason says.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest

from autograder import sandbox_cgroups


class Row(NamedTuple):
    """One kind of submission: its number, its name and what it does."""

    number: int
    name: str
    does: str


_TABLE = """
1 skip_tag: tags the test cells `skip-execution`
2 patch_allclose: replaces the functions that compare
3 eq_always_true: returns an object that equals everything
4 input_transformer: an IPython input transformer blanks the test cells
5 ast_transformer: an IPython AST transformer drops every assert
6 fake_run_cell: replaces the shell's run_cell and reports success
7 fake_display: calls the display hook with the maximum
8 odd_partial: partial credit of −5, NaN or text
9 too_much_partial: partial credit above the maximum
10 clear_output: clears the output after the failure
11 silence_traceback: replaces the hooks that show a traceback
12 write_gradebook: opens the gradebook and writes its own score
13 read_source: reads the answers and the tests from the disk
14 print_tests: prints the hidden tests into the feedback
15 walk_frames: walks frames and the garbage collector for expected values
16 symlink_notebook: the notebook is a link into the instructor's files
17 symlink_extra: an extra link to a private file
18 shadow_module: ships `numpy.py`, `torch.py` or `sitecustomize.py` beside the notebook
19 startup_file: writes a start-up file so that a later student's run is changed
20 background_process: leaves a process running after its grading
21 duplicate_cell: duplicates a test cell's id
22 future_schema: an unknown `schema_version` in a cell
23 delete_tests: deletes the test cells or strips all metadata
24 flip_flags: flips the `solution` or `grade` flag
25 change_points: raises its own `points`
26 reorder: honest work, test cell moved above the solution (honest value: full)
27 change_kernel: another kernelspec
28 exit_calls: ends its own process in every way there is
29 infinite_loop: loops forever
30 ignore_sigint: hangs in C or ignores signals
31 fork_bomb: forks without end
32 memory_bomb: allocates without end
33 disk_bomb: fills the disk
34 output_flood: prints 20 MB and more
35 network: sends the tests out, or listens on loopback
36 environment: reads environment variables
37 malformed: not JSON, cut short, wrong format, null bytes, a directory in place of the file
38 huge_notebook: too many bytes, or nested too deeply
39 odd_names: path traversal, newline, very long or non-ASCII names
40 script_in_feedback: scripts and links that run code, in outputs, text and names
41 stderr_warning: honest work that prints a warning (honest value: full)
42 pickle_payload: returns objects that run code when unpickled
43 shared_files: leaves files for the next submission, or reads the last one's
44 forbidden_call: calls what the exercise forbids, under every name it has
45 hard_coded: a table of the visible tests' answers
46 lazy_tensor: a tensor subclass that computes, or lies, when read
47 mutate_inputs: changes its inputs so that the comparison is against itself
48 stale_output: hands in stored outputs that show passes
49 import_reference: imports the answer of the chapter being graded
50 slow_but_right: correct, and takes 80 % of the time limit (honest value: full)
51 extra_cells: honest work with a helper in a cell of the student's own (honest value: full)
52 global_state: sets seeds, dtype, device, grad mode or threads globally
53 huge_reply: returns values too large, too deep or of odd types
54 protocol_forgery: writes forged reply frames to every open file descriptor
55 hash_collisions: a dictionary whose keys all have the same hash, so that building it takes the judge hours
56 deep_source: an expression so deep that the check of the source runs out of stack, and no grade comes out
57 outside_limits: changes limits, priority or processors of the judge's processes (`prlimit`, `setpriority`)
58 file_modes: changes owner, mode or times of files that it cannot write (Landlock does not see it)
59 thread_bomb: starts threads without end
60 forbidden_elsewhere: hides a forbidden call in another exercise's cell, a thread or TorchScript
61 long_detail: returns megabytes where a number is asked for, to fill the journal and the gradebook
62 line_channel: tells of the tests through the line numbers of its errors, which the feedback shows
63 forged_request: looks like the judge's own request, so that the process takes it for new cells
64 many_outputs: a thousand cells that each print what one may, until the answer is too large to be sent
65 oracle: calls a test's function back without end, or with arguments of its own choice
66 patched_helper: replaces torch so that the test's own helper code returns what the test wants
67 forged_state: gives the layer's parameters, gradients and arguments by lies of its own
68 shared_memory: writes into memory that the warm process shares with the next submission
69 raised_limits: raises its own limits again before it uses memory and disk
70 slow_demos: honest work with demo cells changed so that they run for minutes (honest value: full)
71 huge_source: two megabytes of short statements, so that the check of the source takes the judge a minute and gigabytes
"""

ROWS = [
    Row(int(number), name, does)
    for number, name, does in (
        (*line.split(":", 1)[0].split(" ", 1), line.split(":", 1)[1].strip())
        for line in _TABLE.strip().splitlines()
    )
]

_NO_FENCE = "a process without a fence may do what its user may"
NOT_HELD: dict[str, dict[str, str]] = {
    "none": {
        "write_gradebook": _NO_FENCE,
        "read_source": _NO_FENCE,
        "background_process": "a process that leaves its session is not found again",
        "fork_bomb": _NO_FENCE,
        "disk_bomb": "only the size of a single file is limited",
        "network": _NO_FENCE,
        "shared_files": "every submission uses the same /tmp",
        "outside_limits": _NO_FENCE,
        "file_modes": _NO_FENCE,
    }
}
if not sandbox_cgroups.here():  # nothing else bounds what root does without a fence
    NOT_HELD["none"]["thread_bomb"] = _NO_FENCE
    if os.geteuid() == 0:
        NOT_HELD["none"]["raised_limits"] = "root may raise its limits again"


def row(name: str) -> pytest.MarkDecorator:
    """Marks a test as a case of a row."""
    assert any(one.name == name for one in ROWS), name
    return pytest.mark.row(name)
