"""Intervals of shares: how sure an accuracy over so many images is."""


def wilson(successes: int, trials: int) -> list[float]:
    """Wilson's 95 % interval of a share (Wilson 1927), as [low, high].

    >>> [round(end, 3) for end in wilson(0, 100)]
    [0.0, 0.037]
    """
    from scipy.stats import binomtest

    ends = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return [float(ends.low), float(ends.high)]
