import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfrkit.stages.flow import batched, ordered_map


def test_results_come_in_input_order_although_they_finish_in_another():
    def slow_first(x):
        time.sleep(0.05 if x == 0 else 0)
        return x

    assert list(ordered_map(slow_first, range(20), workers=4)) == list(range(20))


def test_inputs_are_taken_lazily():
    taken = []

    def inputs():
        for x in range(1000):
            taken.append(x)
            yield x

    results = ordered_map(lambda x: x, inputs(), workers=2, ahead=4)
    next(results)
    assert len(taken) <= 5
    results.close()


def test_an_error_comes_in_its_turn_and_stops_the_rest():
    started = []

    def fail_at_three(x):
        started.append(x)
        if x == 3:
            raise ValueError("three")
        return x

    results = ordered_map(fail_at_three, range(1000), workers=1, ahead=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert max(started) < 10


def test_no_thread_outlives_the_iteration():
    before = threading.active_count()
    results = ordered_map(lambda x: x, range(100), workers=4)
    next(results)
    results.close()
    assert threading.active_count() == before


@given(
    st.lists(st.integers(1, 20), max_size=40), st.integers(1, 6), st.integers(1, 40), st.booleans()
)
def test_batches_keep_order_and_limits(costs, size, limit, weighted):
    weight = (lambda x: x) if weighted else None
    groups = list(batched(costs, size, weight=weight, limit=limit))
    assert [x for group in groups for x in group] == costs
    assert all(1 <= len(group) <= size for group in groups)
    if weighted:
        assert all(sum(group) <= limit or len(group) == 1 for group in groups)


def test_a_full_batch_does_not_wait_for_the_next_input():
    def inputs():
        yield from (1, 2)
        pytest.fail("asked for an input it did not need")

    assert next(batched(inputs(), 2)) == [1, 2]
