from research_reasoning.models.provider.breaker import CircuitBreaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def open_breaker() -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    breaker = CircuitBreaker(threshold=3, patience_s=10.0, rest_s=30.0, clock=clock)
    for _ in range(3):
        assert breaker.admit() == 0.0
        breaker.failed()
        clock.now += 5.0
    return breaker, clock


def test_one_bad_moment_of_many_calls_opens_nothing() -> None:
    breaker = CircuitBreaker(threshold=3, clock=Clock())
    for _ in range(20):
        breaker.failed()
    assert breaker.admit() == 0.0


def test_failures_that_go_on_open_it_for_its_rest() -> None:
    breaker, clock = open_breaker()
    assert breaker.admit() == 25.0
    clock.now += 24.0
    assert breaker.admit() == 1.0


def test_after_the_rest_one_call_probes_and_decides() -> None:
    breaker, clock = open_breaker()
    clock.now += 25.0
    assert breaker.admit() == 0.0
    assert breaker.admit() > 0.0
    breaker.failed()
    assert breaker.admit() == 30.0
    clock.now += 30.0
    assert breaker.admit() == 0.0
    breaker.succeeded()
    assert breaker.admit() == 0.0
    breaker.failed()
    assert breaker.admit() == 0.0


def test_a_probe_that_is_cancelled_leaves_room_for_another() -> None:
    breaker, clock = open_breaker()
    clock.now += 25.0
    assert breaker.admit() == 0.0
    breaker.abandoned()
    assert breaker.admit() == 0.0


def test_a_success_starts_the_count_again() -> None:
    clock = Clock()
    breaker = CircuitBreaker(threshold=2, patience_s=0.0, clock=clock)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.admit() == 0.0
