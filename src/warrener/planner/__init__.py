"""What a cluster can carry: measured costs and a measured load, put into the models.

    costs.py        what a message costs, by type of queue and by what is done with it
    fit.py, least_squares.py   from what was measured to what a message costs
    calibration_file.py        the calibration that a cluster's state folder keeps
    load.py         what goes through a cluster just now, and on which hosts
    resources.py    how busy every part is, and how much more of the same it takes
    limits.py       the same as a network, for max-flow and min-cut
    changes.py      another load, another cluster: what-if
    outlook.py      the whole answer: parts, queues, the first thing that breaks, N-1
    words.py        what it says, in words
    question.py     what-if as it is typed
    sizing.py       what another load would take
    advice.py       what to change, with the evidence

Pure: nothing here asks a cluster. Units everywhere: rates in 1/s, times in s, CPU in cores (one
that is busy all the time is 1), sizes in bytes.
"""
