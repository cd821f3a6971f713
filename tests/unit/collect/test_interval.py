from labmon.collect.interval import offset


def test_a_machine_has_its_own_moment_always_the_same():
    assert offset("42") == offset("42") == 0.3425939642242156
    assert len({offset(str(number)) for number in range(1000)}) == 1000


def test_moments_are_spread_evenly():
    tenths = [int(10 * offset(str(number))) for number in range(5000)]
    assert all(400 < tenths.count(tenth) < 600 for tenth in range(10))
