"""All tests in two processes side by side: those that need a broker, and the rest. What ``make test`` runs.

The first kind waits more than it works, the second the other way round, so on two cores they take little longer
together than the slower one alone. What the rest says is shown as it comes, what the broker's tests say at their end.
With arguments it is plain pytest: ``make test ARGS="tests/ingest -x"``.
"""

import subprocess
import sys
import tempfile
import time

WITHOUT = "not broker and not matrix and not browser"
WITH = "broker and not matrix and not browser"


def main(arguments: list[str]) -> int:
    """Run them; the exit status is that of the first part that failed."""
    pytest = [sys.executable, "-m", "pytest"]
    if arguments:
        return subprocess.call([*pytest, *arguments])
    began_s = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        beside = subprocess.Popen([*pytest, "-m", WITH, "-p", "no:cacheprovider"], stdout=said, stderr=said)
        try:
            tell("The tests that need a broker run beside these; what they say comes at the end.")
            first = subprocess.call([*pytest, "-m", WITHOUT])
            tell("Waiting for the tests that need a broker.")
            second = beside.wait()
        finally:
            beside.terminate()
            beside.wait()
        said.seek(0)
        tell(said.read())
    tell(f"without a broker: exit status {first}; with one: {second}; {time.monotonic() - began_s:.0f} s in all")
    return first or second


def tell(words: str) -> None:
    """At once, before what the children say next."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
