"""A test kit: playbooks for sessions and a fake broker. For Warrener's own tests and its users'.

The fake broker is for unit tests. Whatever RabbitMQ itself must be held to is tested with
RabbitMQ.
"""
