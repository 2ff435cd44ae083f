"""The judge: points, hints, the hint engine, and what a message says."""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType

import pytest

from toolkit import course
from toolkit.classroom import checks
from toolkit.classroom.checks import Checks, expect, judge, question, require, wrong
from toolkit.classroom.feedback import verdict_message


@pytest.fixture
def lab(monkeypatch) -> Checks:
    """A lab of two questions: ``jaccard`` (two checks) and ``Tally``."""
    module = ModuleType("lab_of_the_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def register(decorator, function):
        function.__module__ = module.__name__
        decorator(function)

    def divides_by_the_union(answer, rng):
        """Jaccard divides by the union."""
        a, b = (set(rng.integers(0, 20, 8).tolist()) for _ in range(2))
        union = {x for x in range(20) if x in a or x in b}
        expect(answer.jaccard(a, b), sum(x in a and x in b for x in union) / len(union))

    def empty_sets_are_unlike(answer, rng):
        expect(answer.jaccard(set(), set()), 0.0)

    def tallies(answer, rng):
        tally = answer.Tally()
        for _ in range(3):
            tally.add(int(rng.integers(4, 9)))
        require(tally.total > 3, "the total is too small", tally)
        expect(tally.count, 3)

    register(question("q1", points=2, hints=["First hint.", "Second hint."]), divides_by_the_union)
    register(question("q1", points=1), empty_sets_are_unlike)
    register(question("q2"), tallies)

    def larger(a, b):
        return len(a & b) / max(len(a), len(b), 1)

    def total(a, b):
        return len(a & b) / max(len(a) + len(b), 1)

    def raises(a, b):
        return len(a & b) / len(a | b)

    class Tally:
        total = 0
        count = 0

        def add(self, n):
            self.total += n
            self.count = n

    for hint, value in [("larger", larger), ("both", total), ("empty", raises)]:
        value.__name__ = "jaccard"
        register(wrong("q1", hint=f"Hint: {hint}."), value)
    register(wrong("q2", hint="You kept the last number."), Tally)
    registered = module._registered
    return Checks(
        "data/test",
        tuple(c for c in registered if isinstance(c, checks.Check)),
        tuple(w for w in registered if isinstance(w, checks.WrongAnswer)),
    )


def right(a, b):
    return len(a & b) / len(a | b) if a | b else 0.0


def test_a_right_answer_earns_every_point_and_is_told_what_is_now_known(lab):
    verdict = judge(lab, "q1", {"jaccard": right})
    assert verdict.passed
    assert (verdict.points, verdict.possible) == (3, 3)
    text = repr(verdict_message(verdict, lab.hints("q1")))
    assert text.splitlines() == [
        "q1 passed · 3 of 3 points",
        "✓ Jaccard divides by the union",
        "✓ empty sets are unlike",
    ]


def test_each_wrong_answer_fails_and_brings_its_own_hint(lab):
    for candidate in lab.wrong:
        verdict = judge(lab, candidate.question, {candidate.name: candidate.value})
        assert not verdict.passed
        assert verdict.hint == candidate.hint


def test_a_mistake_written_another_way_brings_the_same_hint(lab):
    def mine(a, b):
        shared = [x for x in a if x in b]
        return len(shared) / (len(a) if len(a) > len(b) else len(b) or 1)

    verdict = judge(lab, "q1", {"jaccard": mine})
    assert verdict.hint == "Hint: larger."


def test_an_unknown_mistake_gets_the_general_hint_and_the_call(lab):
    verdict = judge(lab, "q1", {"jaccard": lambda a, b: 0.123})
    assert verdict.hint is None
    assert verdict.points == 0
    head, hint = repr(verdict_message(verdict, lab.hints("q1"))).splitlines()
    assert head.startswith("q1 not yet · `jaccard({")
    assert "gave 0.123, expected 0." in head
    assert hint == "Hint 1 of 2: First hint. `lab.hint('q1')` shows the next."


def test_points_of_the_checks_that_pass_are_kept(lab):
    def mostly(a, b):
        return right(a, b) if a | b else 1.0

    verdict = judge(lab, "q1", {"jaccard": mostly})
    assert (verdict.points, verdict.possible) == (2, 3)
    text = repr(verdict_message(verdict, lab.hints(verdict.question)))
    assert "`jaccard(set(), set())` gave 1, expected 0." in text
    assert "So far 2 of 3 points." in text


def test_an_exception_is_told_with_the_learners_own_lines(lab):
    names: dict = {}
    exec(compile("def jaccard(a, b):\n    return a / b\n", "cell", "exec"), names)
    verdict = judge(lab, "q1", names)
    text = repr(verdict_message(verdict, lab.hints(verdict.question)))
    assert "raised TypeError: unsupported operand" in text
    assert "line 2 in jaccard" in text
    assert "toolkit" not in text


def test_a_missing_name_says_what_to_do(lab):
    text = repr(verdict_message(judge(lab, "q1", {}), lab.hints("q1")))
    say = "`jaccard` is not defined: its cell has not run, or not to its end."
    assert text.splitlines()[0] == f"q1 not yet · {say}"


def test_an_unfilled_stub_is_named(lab):
    text = repr(verdict_message(judge(lab, "q1", {"jaccard": lambda a, b: None}), lab.hints("q1")))
    assert "gave None: it is None, expected a float." in text


def test_a_value_the_check_cannot_use_is_the_learners_failure_not_a_crash(lab):
    class Tally:
        total = "many"
        count = 3

        def add(self, n):
            pass

    verdict = judge(lab, "q2", {"Tally": Tally})
    assert "can't be used as the question asks (TypeError" in str(verdict.failure)


def test_objects_that_claim_to_equal_everything_fail(lab):
    class Anything(float):
        def __eq__(self, other):
            return True

        __hash__ = float.__hash__
        __sub__ = __rsub__ = __abs__ = lambda self, *other: 0.0

    assert not judge(lab, "q1", {"jaccard": lambda a, b: Anything(7)}).passed


def test_checks_have_their_own_randomness_which_the_seed_decides(lab):
    first, second = lab.of("q1")
    draw = [check.rng(seed).integers(0, 2**62) for check in (first, second) for seed in (0, 0, 1)]
    assert draw[0] == draw[1]
    assert len(set(draw)) == 4


def test_a_learners_text_is_never_taken_for_markup(lab):
    names: dict = {}
    exec(compile("def jaccard(a, b):\n    return 2**2 + None**2\n", "cell", "exec"), names)
    message = verdict_message(judge(lab, "q1", names), lab.hints("q1"))
    assert "for ** or pow()" in repr(message)
    assert "for ** or pow()" in message._repr_html_()
    verdict = judge(lab, "q1", {"jaccard": lambda a, b: "**`x"})
    assert "gave '**`x':" in repr(verdict_message(verdict, lab.hints("q1")))
    exec("def jaccard(a, b):\n    raise ValueError('\ue000x\ue001')\n", names)
    verdict = judge(lab, "q1", names)
    assert "<strong>x" not in verdict_message(verdict, lab.hints("q1"))._repr_html_()


def test_a_hint_needs_the_same_behaviour_to_the_end_of_the_check(lab):
    """The first wrong value alone may be that of many mistakes."""

    def check_two(answer, rng):
        expect(answer.f(1), 2)
        expect(answer.f(5), 10)

    def squares(x):
        return x * x

    found = Checks(
        "data/test",
        (checks.Check("q", 1, (), check_two),),
        (checks.WrongAnswer("q", "You squared it.", "f", squares),),
    )
    assert judge(found, "q", {"f": lambda x: x**2}).hint == "You squared it."
    assert judge(found, "q", {"f": lambda x: x}).hint is None
    assert judge(found, "q", {"f": lambda x: x}).call.args == (1,)


def test_a_wrong_answer_that_the_check_does_not_get_to_brings_no_hint():
    def checks_what_is_made_of_it(answer, rng):
        expect(answer.f(answer.helper(1)), 2)

    def fails(x):
        raise ValueError(x)

    found = Checks(
        "data/test",
        (checks.Check("q", 1, (), checks_what_is_made_of_it),),
        (checks.WrongAnswer("q", "You squared it.", "f", lambda x: x * x),),
    )
    assert judge(found, "q", {"helper": fails, "f": lambda x: x**2}).hint is None
    assert judge(found, "q", {"helper": abs, "f": lambda x: x**2}).hint == "You squared it."


def test_a_mismatch_in_a_function_of_the_checks_own_can_not_be_swallowed(lab):
    def passes_a_function(answer, rng):
        def inside(x):
            expect(x, [1])

        answer.apply(inside)

    check = checks.Check("q3", 1, (), passes_a_function)

    def swallow(function):
        with contextlib.suppress(Exception):
            function([2])

    found = judge(Checks("data/test", (check,), ()), "q3", {"apply": swallow})
    assert "item 0: 2, expected 1" in str(found.failure)


def test_html_escapes_what_the_learner_returned(lab):
    verdict = judge(lab, "q1", {"jaccard": lambda a, b: "<script>alert(1)</script>"})
    html = verdict_message(verdict, lab.hints(verdict.question))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<strong>q1 not yet</strong>" in html


def test_an_unknown_question_is_refused_in_a_sentence(lab):
    with pytest.raises(course.CourseError, match="no question 'q9'; it has q1, q2"):
        lab.of("q9")
