"""The machine and the processes, as the doctor sees them."""

import http.server
import json
import threading
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from millrace.cli.doctor import command
from millrace.doctor.machine import check_machine
from millrace.doctor.processes import check_processes
from millrace.local.runfile import RunInfo, RunningService

METRICS = """# TYPE millrace_lag_records gauge
millrace_lag_records{service="serving",topic="power-samples",partition="0"} %d
# TYPE millrace_stable_lag_records gauge
millrace_stable_lag_records{service="serving",topic="power-samples",partition="0"} %d
"""


@contextmanager
def answering(status, body, metrics=METRICS % (0, 0)):
    """A service that says this when it is asked whether it is ready."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            ready = self.path == "/readyz"
            self.send_response(status if ready else 200)
            self.end_headers()
            self.wfile.write((json.dumps(body) if ready else metrics).encode())

        def log_message(self, *_):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def examined(tmp_path, url, restarts=0):
    """What is found about one service there."""
    info = RunInfo("b", "r", None, 1, {"serving": RunningService(url, 1, restarts)})
    return [(one.level, one.what, one.mend) for one in check_processes(info, tmp_path)]


def test_the_machine_is_told_with_its_numbers(tmp_path):
    """Disk, memory, open files and Java, each with what was seen, for a folder that is not there yet too."""
    found = list(check_machine(tmp_path / "not" / "yet"))

    assert ["disk", "memory", "open files", "Java"] == [one.subject for one in found]
    assert all(one.what for one in found)
    assert all(bool(one.mend) == (one.level != "ok") for one in found)


def test_a_ready_service_is_well(tmp_path):
    """One line, no way out needed."""
    with answering(200, {"ready": True}) as url:
        assert [("ok", f"ready at {url}", "")] == examined(tmp_path, url)


def test_a_failing_check_is_named_with_its_way_out(tmp_path):
    """As the service itself names it."""
    with answering(503, {"ready": False, "failing": {"bus": "no answer for 6 s"}}) as url:
        ((level, what, mend),) = examined(tmp_path, url)

    assert ("trouble", "not ready: bus: no answer for 6 s") == (level, what)
    assert "broker" in mend


def test_what_does_not_answer_is_in_trouble(tmp_path):
    """With its log, where the reason stands."""
    with answering(200, {}) as url:
        pass
    ((level, _, mend),) = examined(tmp_path, url)

    assert level == "trouble"
    assert str(tmp_path / "serving.log") in mend


@pytest.mark.parametrize(
    ("lag", "hidden", "restarts", "words"),
    [
        (20_000, 0, 0, "20000 records of power-samples/0 are behind"),
        (0, 3, 0, "3 records of power-samples/0 are hidden by an open transaction"),
        (0, 0, 3, "was started again 3 times"),
    ],
)
def test_lag_hidden_records_and_restarts_deserve_a_look(tmp_path, lag, hidden, restarts, words):
    """A warning beside readiness, with what to do."""
    with answering(200, {}, METRICS % (lag, hidden)) as url:
        (_, _, _), (level, what, mend) = examined(tmp_path, url, restarts)

    assert ("warning", words) == (level, what)
    assert mend


def test_where_nothing_runs_the_command_says_how_to_start_it(tmp_path):
    """Exit status 1; as JSON the same."""
    text = CliRunner().invoke(command, ["--data", str(tmp_path)])
    told = json.loads(CliRunner().invoke(command, ["--data", str(tmp_path), "--json"]).stdout)

    assert text.exit_code == 1
    assert "millrace up PROJECT" in text.output
    assert ["platform"] == [one["subject"] for one in told["findings"] if one["level"] == "trouble"]
