"""Breaks a cluster on purpose and keeps the books: nothing confirmed may be lost.

    messages  a message whose body proves which one it is and that it came whole
    notes     what a client program writes down, one line at a time
    program   the client's side: the job it is given, the notebook it writes into
    ledger    every client's notes put together, and the verdict. Pure
    workload  client programs as processes of their own, started, followed, faulted and stopped

A client program is any program that reads a job from its input and writes notes to its output; it
uses a real library and recovers from nothing, so that what a client would notice is in the books.
"""
