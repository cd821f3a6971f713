from labmon.brokers.base import LaneShare


def served(share, limit, high, normal):
    """How many normal messages of each batch an adapter would deliver with so many waiting all the time."""
    kept = share.keep(limit)
    taken = min(normal, max(kept, limit - high))
    share.took(taken)
    return taken


def test_a_quarter_of_full_batches_is_for_the_normal_lane():
    share = LaneShare()
    assert [served(share, 100, high=1000, normal=1000) for _ in range(3)] == [25, 25, 25]


def test_small_batches_save_up():
    share = LaneShare()
    assert [served(share, 1, high=9, normal=9) for _ in range(8)] == [0, 0, 0, 1, 0, 0, 0, 1]
    assert [served(share, 6, high=9, normal=9) for _ in range(4)] == [1, 2, 1, 2]


def test_an_empty_normal_lane_saves_nothing():
    share = LaneShare()
    for _ in range(100):
        assert served(share, 10, high=1000, normal=0) == 0
    assert served(share, 10, high=1000, normal=1000) <= 3


def test_a_lane_alone_gets_everything():
    share = LaneShare()
    assert served(share, 10, high=0, normal=1000) == 10
    assert served(share, 10, high=3, normal=1000) == 7
