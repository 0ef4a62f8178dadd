"""Run by test_ordinary_user.py as a user without rights: grade one honest and some hostile submissions, say what came.

`python as_a_user.py LEVEL` prints a JSON object.
"""

from __future__ import annotations

import json
import os
import sys

from attack_tools import LIMITS, RETURNS, WRONG, grade, printed, solved, with_code
from test_in_the_cell import DISK, FORKS, MEMORY, THREADS

from autograder.judge import Judge

HOSTILE = {
    "forks": FORKS + WRONG,
    "memory": MEMORY + WRONG,
    "disk": DISK + WRONG,
    "threads": THREADS + WRONG,
    "ends itself": "import os\n" + RETURNS.format("os._exit(0)"),
    "never ends": "\ndef attend(q, K, V):\n    while True: pass\n",
}

if __name__ == "__main__":
    with Judge(isolation=sys.argv[1], limits=LIMITS) as judge:
        found = {"uid": os.getuid(), "level": judge.isolation.level, "probes": judge.isolation.probes}
        honest = grade(judge, json.dumps(solved()).encode())
        found["honest"] = [honest.score, honest.max_score]
        for name, code in HOSTILE.items():
            report = grade(judge, with_code(code))
            found[name] = [report.score, "REACHED" in printed(report)]
        found["last"] = grade(judge, json.dumps(solved()).encode()).score
    print(json.dumps(found))
