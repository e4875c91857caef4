"""Certificates of a cluster: what is needed, made, checked, renewed.

    certificates    keys, authorities, certificates: made and read (pure)
    own_files       the user's own certificate: is it one that can be used?
    files           where all of it is in the state folder
    node_settings   what RabbitMQ and Erlang are told (pure)
    rotation        what is done in which order, and when (pure)
    contexts        Python's own side of TLS
    cluster         all of it for one cluster: what drivers and the daemon use

Words: an *authority* is a CA of the cluster's own; an *identity* is a key with the certificate that
goes with it, in one file, so that nobody ever reads one of the two without the other; the *trust*
is the file with all certificates of authorities that are trusted at the time.
"""
