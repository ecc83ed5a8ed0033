"""What a request costs in steps of the interpreter: the same on every machine and on every day.

Sidecars, app and callers share one process and one loop, so the order of events is always the same. What is
counted is bytecodes and Python calls of everything but the bench; work inside C is not seen. Two versions of the
code can be told apart by a per cent while others use the machine.
"""
