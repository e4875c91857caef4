"""Where a cluster's nodes run and who starts them.

driven.py          what all clusters that Warrener runs have in common: start, stop, files
running.py         what is done to one that runs
local.py           nodes as processes on this machine
ssh.py             nodes on other hosts
attached.py        somebody else's cluster, by its management API alone
host.py            what a node's life needs of its machine; this machine
ssh_host.py        the same over SSH, on ssh_connection.py
host_scripts.py    what a host is asked, as POSIX sh (pure)
host_look.py       the same: what there is to know of it (pure)
host_install.py    the same: RabbitMQ is installed (pure)
systemd.py         the same: nodes as units of systemd (pure)
ssh_looks.py       hosts looked at, all at once
ssh_checks.py      what a host has to be like (pure)
ssh_upgrade.py     an installation that hosts are to be given (pure)
ssh_schema.py      what a host's RabbitMQ knows of configuration, brought here
ssh_leftovers.py   what a killed daemon left on hosts
installation.py    finds a RabbitMQ and its Erlang
installations.py   which node runs which RabbitMQ, over a rolling upgrade
ports.py           a block of ports per cluster, held for the life of the process
node_config.py     rabbitmq.conf and the environment of a node (pure)
node.py            one node: start, stop, what it does
upkeep.py          one node of a running cluster: drain, revive, restart
tools.py           RabbitMQ's command-line tools
boot_log.py        what a node's log says of its boot (pure)
marks.py           what marks a cluster's processes
processes.py       child processes, and finding them again by a mark in their environment
private_files.py   the files of a state folder that are the driver's
leftovers.py       what a daemon that was killed left running
"""
