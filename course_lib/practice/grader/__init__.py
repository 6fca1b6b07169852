"""Grades submitted notebooks that nobody trusts: their code runs in a jail, what it returns is judged outside.

`jail.py` is the jail as the parent sees it and `worker.py` what runs inside; `protocol.py` is what crosses the wall
between them; `submission.py` finds the answers in a notebook; `grade.py` grades notebooks; `report.py` keeps the
results.
"""
