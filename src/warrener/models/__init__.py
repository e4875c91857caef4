"""Models that answer questions about a cluster: pure functions, no cluster needed.

    terms.py       what all of them share: the two kinds of answer, wrong input
    times.py       how long a response takes, as a distribution: mean, survival, percentiles
    queueing.py    one station: M/M/1, M/M/c, M/M/1/K, M/G/1, G/G/c
    classes.py     one station, several priorities
    batches.py     one station that serves several at once
    networks.py    stations in a row or a net, fed from outside (Jackson)
    windows.py     stations with a window around them: publishers with a limit of unconfirmed
                   messages, consumers with a prefetch (what mean value analysis answers)
    flow.py        limits and what gets through them: max-flow, min-cut, what an edge is worth, N-1
    simulation.py  a workload, nodes that differ, and the balancer's own policies: event by event
    stations.py    one queue, message by message
    samples.py     what a series of measurements says, and how surely

Units everywhere: rates in 1/s, times in s, utilisations and shares as parts of 1. Each function
names its source, what it assumes, and whether it is exact. A load that is too high is an answer
(``Growing``), not an error; what makes no sense as a question is a ``WrongInput``.
"""
