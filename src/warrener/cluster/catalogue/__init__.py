"""RabbitMQ's configuration keys: which there are, what they take, what a change of one costs. Pure.

    schema    what an installation's own schema files say: every key it knows, its type, where in
              Erlang's application environment it ends up
    keys      what Warrener knows beyond that: what a key is for, its unit, its range, whether it is
              applied live
    reserved  keys that Warrener sets itself, and where the same is to be changed
    check     one key and one value against all of them

The schema is the authority on what exists: RabbitMQ refuses to boot on a key that isn't in it, so
nothing else may be written; and what is in it may be, whether Warrener knows more of it or not.
"""
