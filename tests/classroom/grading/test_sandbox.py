"""A notebook's process: what it can do, what it can't, and what its judge gets to see."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgpack
import psutil
import pytest

from toolkit import course
from toolkit.classroom.answer import Answer, LearnerError
from toolkit.classroom.codec import CodecError
from toolkit.classroom.grading import probe
from toolkit.classroom.grading.confine import Confinement
from toolkit.classroom.grading.judge import Given, Task
from toolkit.classroom.grading.limits import Limits
from toolkit.classroom.grading.sandbox import Sandbox, SandboxError
from toolkit.classroom.grading.submissions import Submission

LAB = "data/dedup"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")


def run(sandbox: Sandbox, source: str, seconds: float = 20.0) -> list:
    return msgpack.unpackb(sandbox.run_cell(source, seconds))


def test_names_live_from_cell_to_cell(start):
    sandbox = start()
    assert run(sandbox, "a = 20") == ["ok", None]
    assert run(sandbox, "def f(x): return a + x") == ["ok", None]
    answer = Answer(sandbox.ask)
    assert answer.f(22) == 42
    assert answer.get("a") == 20


def test_it_is_ipython(start):
    sandbox = start()
    assert run(sandbox, "files = !echo hello\n%time b = 1") == ["ok", None]
    run(sandbox, "import inspect\ndef f():\n    return 1\nsource = inspect.getsource(f)")
    answer = Answer(sandbox.ask)
    assert answer.get("b") == 1
    assert answer.get("source") == "def f():\n    return 1\n"


def test_a_cell_that_raises_says_so_and_the_next_runs(start):
    sandbox = start()
    status, kind, message, *_ = run(sandbox, "x = 1\ny = x / 0")
    assert (status, kind, message) == ("error", "ZeroDivisionError", "division by zero")
    assert run(sandbox, "def broken(:")[1] == "SyntaxError"
    assert run(sandbox, "raise SystemExit(3)")[1] == "SystemExit"
    assert run(sandbox, "z = x + 1") == ["ok", None]


def test_an_error_crosses_with_the_learners_own_lines(start):
    sandbox = start()
    run(sandbox, "def f(x):\n    return g(x)\n\ndef g(x):\n    return 1 / x")
    with pytest.raises(LearnerError, match="ZeroDivisionError") as raised:
        Answer(sandbox.ask).f(0)
    assert raised.value.lines == [["f", 2, "return g(x)"], ["g", 5, "return 1 / x"]]


@pytest.mark.parametrize("error", ["SystemExit(0)", "KeyboardInterrupt", "GeneratorExit", "Own"])
def test_whatever_is_raised_is_a_reply(start, error):
    sandbox = start()
    run(sandbox, f"class Own(BaseException): pass\ndef f(): raise {error}")
    with pytest.raises(LearnerError, match=error.split("(")[0]):
        Answer(sandbox.ask).f()
    run(sandbox, "a = 1")
    assert Answer(sandbox.ask).get("a") == 1


def test_a_call_that_takes_too_long_is_stopped_where_it_was(start):
    sandbox = start(call_seconds=0.3)
    run(sandbox, "def f():\n    while True:\n        pass\ndef g(): return 1")
    with pytest.raises(LearnerError, match=r"TimeLimit: stopped after 0.3 s") as raised:
        Answer(sandbox.ask).f()
    assert raised.value.lines[0][0] == "f"
    assert Answer(sandbox.ask).g() == 1


def test_a_cell_that_takes_too_long_leaves_what_it_has_defined(start):
    sandbox = start()
    reply = run(sandbox, "a = 1\nwhile True: pass", seconds=0.3)
    assert reply[:3] == ["error", "TimeLimit", "stopped after 0.3 s"]
    assert Answer(sandbox.ask).get("a") == 1


def test_who_does_not_stop_is_ended(start):
    sandbox = start(call_seconds=0.3)
    run(
        sandbox,
        "import signal\n"
        "def f():\n    signal.signal(signal.SIGALRM, signal.SIG_IGN)\n    while True: pass",
    )
    with pytest.raises(SandboxError, match=r"did not stop after 0.3 s, and was ended"):
        Answer(sandbox.ask).f()
    with pytest.raises(SandboxError, match="and was ended"):
        sandbox.run_cell("a = 1", 1.0)


def test_who_exits_is_gone(start):
    sandbox = start()
    run(sandbox, "import os\ndef f(): os._exit(0)")
    with pytest.raises(SandboxError, match="its process ended"):
        Answer(sandbox.ask).f()


def test_a_reply_to_another_request_is_refused(start):
    sandbox = start()
    run(
        sandbox,
        "import os, socket, struct\n"
        "line = socket.socket(fileno=os.dup(int(os.environ['TOOLKIT_WIRE'])))\n"
        "def f(): line.sendall(struct.pack('>IBI', 0, 3, 99))",
    )
    with pytest.raises(SandboxError, match="answered request 99, not"):
        Answer(sandbox.ask).f()


def test_nothing_outlives_it(start, confinements):
    sandbox = Sandbox(confinements[0], 0, Limits())
    run(sandbox, "import subprocess\nsubprocess.Popen(['sleep', '4711'], start_new_session=True)")

    def sleepers() -> list:
        return [p for p in psutil.process_iter(["cmdline"]) if "4711" in (p.info["cmdline"] or [])]

    assert sleepers()
    sandbox.close()
    psutil.wait_procs(sleepers(), timeout=10)
    assert not sleepers()


def test_what_it_sees_of_the_machine(start, monkeypatch):
    monkeypatch.setenv("TOOLKIT_SECRET", "1")
    sandbox = start()
    run(
        sandbox,
        "import os, psutil\n"
        "processes = len(psutil.pids())\n"
        "root = sorted(os.listdir('/'))\n"
        "own = dict(os.environ)\n"
        "where = os.getcwd()",
    )
    answer = Answer(sandbox.ask)
    assert answer.get("processes") <= 3
    assert "home" not in answer.get("root")
    assert "TOOLKIT_SECRET" not in answer.get("own")
    assert answer.get("own")["MPLBACKEND"] == "Agg"
    assert answer.get("where") == "/tmp"


def test_the_chapters_library_is_gone_and_the_rest_is_there(start):
    sandbox = start()
    reply = run(sandbox, "from toolkit.data.dedup import jaccard")
    assert reply[1] == "ImportError"
    assert "library of the chapter is not there" in reply[2]
    assert run(sandbox, "from toolkit import assets; import toolkit.data") == ["ok", None]
    run(sandbox, "import os, toolkit\nfolder = os.path.dirname(toolkit.__file__)")
    run(sandbox, "found = [f for _, _, fs in os.walk(folder) for f in fs if 'dedup' in f]")
    assert Answer(sandbox.ask).get("found") == ["dedup.py"]


def test_caches_of_numba_can_be_written(start):
    sandbox = start()
    source = "import numba\n@numba.njit(cache=True)\ndef f(x): return x + 1\ny = f(1)"
    assert run(sandbox, source) == ["ok", None]
    assert Answer(sandbox.ask).get("y") == 2


def test_memory_in_one_process_is_an_error_the_learner_sees(start):
    sandbox = start(memory_mib=600)
    run(sandbox, "def f(): return len(bytearray(10**9))\ndef g(): return 1")
    with pytest.raises(LearnerError, match="MemoryError"):
        Answer(sandbox.ask).f()
    assert Answer(sandbox.ask).g() == 1


@pytest.mark.parametrize("form", ["f", "object.f"])
def test_functions_of_the_check_are_called_back(start, form):
    sandbox = start()
    run(
        sandbox,
        "def f(g, x): return g(g(x))\n"
        "class C:\n"
        "    def f(self, g, x): return f(g, x)\n"
        "object = C()",
    )
    door = Answer(sandbox.ask)
    sandbox.call = door.serve_callback
    function = door.get("object").f if "." in form else door.f
    assert function(lambda x: [*x, len(x)], []) == [0, 1]


def test_callbacks_from_other_threads(start):
    sandbox = start()
    run(
        sandbox,
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def f(g):\n"
        "    with ThreadPoolExecutor(4) as pool:\n"
        "        return list(pool.map(g, range(50)))",
    )
    door = Answer(sandbox.ask)
    sandbox.call = door.serve_callback
    assert door.f(lambda x: 2 * x) == list(range(0, 100, 2))


def test_tensors_in_place_and_gradients(start):
    torch = pytest.importorskip("torch")
    sandbox = start(call_seconds=60.0)
    run(sandbox, "def f(x): return x ** 2\ndef g(x): x += 1", seconds=60.0)
    answer = Answer(sandbox.ask)
    x = torch.tensor([1.0, 3.0])
    (gradient,) = answer.vjp("f", [x], torch.ones(2))
    assert torch.equal(gradient, 2 * x)
    assert torch.equal(answer.call_inplace("g", x).args[0], x + 1)


# -- what is given ---------------------------------------------------------------------------


@pytest.fixture
def given(confinements) -> Callable[[Sandbox], Given]:
    task = Task(LAB, 0, None, Submission("ada", ()), *confinements, 0, Limits(call_seconds=60.0))
    with Given(task) as found:
        yield found


def joined(sandbox: Sandbox, given: Given) -> Answer:
    door = Answer(sandbox.ask, given.of)
    sandbox.call = door.serve_callback
    run(sandbox, "from toolkit.classroom import Lab\nlab = Lab('data/dedup')")
    return door


def test_what_is_given_works(start, given):
    sandbox = start(call_seconds=60.0)
    door = joined(sandbox, given)
    run(sandbox, "shingles, jaccard = lab.given('q1'), lab.given('q2')")
    run(sandbox, "def f(a, b): return jaccard(shingles(a, 1), shingles(b, 1))")
    assert door.f("x y", "y z") == pytest.approx(1 / 3)


def test_what_is_given_serves_later_questions_only(start, given):
    sandbox = start(call_seconds=60.0)
    door = joined(sandbox, given)
    run(sandbox, "jaccard = lab.given('q2')\ndef f(a, b): return jaccard(a, b)")
    for judged in ("q1", "q2"):
        given.judging = judged
        with pytest.raises(LearnerError, match=f"q2 is not given while {judged} is judged"):
            door.f({1}, {1})
    given.judging = "q5"
    assert door.f({1}, {1}) == 1.0


def test_no_question_of_that_name_is_given(start, given):
    sandbox = start()
    joined(sandbox, given)
    reply = run(sandbox, "lab.given('q9')")
    assert "has no question 'q9'" in reply[2]


def test_the_functions_of_a_check_have_no_attributes(start):
    sandbox = start()
    run(sandbox, "def f(g): return g.seed")
    door = Answer(sandbox.ask)
    sandbox.call = door.serve_callback

    def oracle() -> None: ...

    oracle.seed = 3
    with pytest.raises(LearnerError, match="seed"):
        door.f(oracle)


def test_objects_that_are_given_have_theirs(start):
    """A given class makes objects that stay where they are; their methods are reached."""
    library, notebook = start(), start()
    run(library, "class Counter:\n    def __init__(self): self.n = 0\n    def up(self):\n"
        "        self.n += 1\n        return self.n")  # fmt: skip
    inner = Answer(library.ask)
    library.call = inner.serve_callback
    door = Answer(notebook.ask, lambda question: inner.get("Counter"))
    notebook.call = door.serve_callback
    run(notebook, "from toolkit.classroom import Lab\ncounter = Lab('data/dedup').given('q1')()")
    run(notebook, "def f():\n    counter.up()\n    return counter.up(), counter.n")
    assert door.f() == (2, 2)


# -- what holds here -------------------------------------------------------------------------


def test_every_protection_holds_here(confinements):
    limits = Limits(memory_mib=512)
    secret = [course.homes(LAB).checks, course.homes(LAB).solution, Path(__file__).parent]
    found = probe.measure(confinements[0], limits, secret)
    assert {protection.name: protection.on for protection in found} == dict.fromkeys(
        ["time", "memory", "processes", "reading", "writing", "network", "signals", "kernel",
         "user"],
        True,
    )  # fmt: skip
    probe.require(found)


def test_nobody_is_graded_where_nothing_limits_memory():
    names = ["time", "processes"]
    with pytest.raises(course.CourseError, match="nothing limits memory here, so nobody"):
        probe.require([probe.Protection(name, True, "") for name in names])


def test_another_process_may_end_while_processes_are_counted(monkeypatch):
    count = psutil.Process.num_threads

    def gone(process):
        if process.pid == os.getpid():
            raise psutil.NoSuchProcess(process.pid)
        return count(process)

    monkeypatch.setattr(psutil.Process, "num_threads", gone)
    sandbox = Sandbox(Confinement("limits", course.root(), None, False), 0, Limits())
    try:
        assert run(sandbox, "a = 20") == ["ok", None]
    finally:
        sandbox.close()


def test_a_sandbox_that_does_not_start_says_why(confinements, tmp_path):
    with pytest.raises(SandboxError, match=r"did not start: .*No module named 'toolkit'"):
        Sandbox(replace(confinements[0], library=tmp_path), 0, Limits())
    assert issubclass(SandboxError, CodecError)
